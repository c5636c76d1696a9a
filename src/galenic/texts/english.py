"""What is known of English: function words, and the phrases by which it negates.

The phrases are compiled anew after the classes of Chapman et al., A simple algorithm for identifying negated findings
and diseases in discharge summaries, Journal of Biomedical Informatics 34:301 (2001): triggers before and after what
they negate, pseudo-negations that negate nothing, and terminators. Patients' own words ("I don't have", "can't stop")
are added to the clinic's ("denies", "ruled out"). VERSION changes whenever a list here or a rule in `negation` does.
"""

from __future__ import annotations

LANGUAGE = "en"
VERSION = "en-1"


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase.split()) for phrase in text.split("|"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION = _words(
    """
    a about above after again all also always am an and another any are around as at away back be became because been
    before being below between both but by can come comes could did do does doing down due during each either else even
    ever every few for from get gets getting go goes going got had has have having he her here hers him his how however
    i i'd i'll i'm i've if in into is it it's its itself just like lot lots many may me might more most much must my
    myself near neither nor now of off often on once one only onto or other our out over own per quite rather really
    same she should since so some something sometimes somewhat still such than that that's the their them then there
    there's these they they're this those though through till to too under until up upon us very was we were what
    what's when where which while who whole why will with within would yet you your
    aren't can't cannot couldn't didn't doesn't don't hadn't hasn't haven't isn't never no none not wasn't weren't won't
    wouldn't without
    """
)

# Negate nothing, though a trigger stands in them.
PSEUDO = _phrases(
    "no increase|no decrease|no change|no changes|no improvement|no relief|no difference|no better|no worse|"
    "no significant change|no interval change|no definite change|no suspicious change|no further change|no doubt|"
    "no idea|no clue|no matter|no wonder|no more than|no less than|no end|no lack of|no cause|no cure|no explanation|"
    "no idea why|no idea what|nothing but|without relief|without improvement|without change|without doubt|"
    "without warning|without difficulty|without reason|without cause|without any reason|without knowing|"
    "not only|not just|not merely|not simply|not necessarily|not to mention|not more than|not less than|not without|"
    "not certain|not certain if|not certain whether|not sure|not sure if|not sure why|not sure what|not sure whether|"
    "not because|not improving|not improved|not getting better|not better|not relieved|not responding|not resolved|"
    "not going away|not gone|not go away|not stop|not stopped|not stopping|not cause|not extend|not drain|not know|"
    "not known|not understand|not help|not helping|not helped|not stand|can not stand|"
    "don't know|didn't know|doesn't help|didn't help|don't help|doesn't stop|don't stop|won't stop|didn't stop|"
    "can't stop|couldn't stop|cannot stop|can't help|can't stand|cannot stand|couldn't stand|can't explain|"
    "cannot explain|can't understand|don't understand|doesn't go away|don't go away|won't go away|didn't go away|"
    "isn't going away|aren't going away|hasn't gone away|haven't gone away|isn't getting better|aren't getting better|"
    "isn't improving|hasn't improved|haven't improved|didn't improve|doesn't improve|never stops|never ends|"
    "never goes away|never ending|gram negative|negative thoughts|negative feelings"
)

# Stand before what they negate.
BEFORE = _phrases(
    "no|not|without|w/o|never|neither|nor|denies|deny|denied|denying|none of|lack of|lacks|lacking|absence of|absent|"
    "free of|free from|negative for|rules out|rule out|ruled out for|instead of|rather than|"
    "no evidence of|no sign of|no signs of|no symptom of|no symptoms of|no history of|no complaint of|"
    "no complaints of|no sense of|no longer|not have|not having|not had|not any|not have any|not having any|"
    "without any|without a|never had|never have|never any|"
    "cannot|can't|couldn't|don't|doesn't|didn't|haven't|hasn't|hadn't|isn't|aren't|wasn't|weren't|won't|wouldn't|"
    "cant|couldnt|dont|doesnt|didnt|havent|hasnt|hadnt|isnt|arent|wasnt|werent|wont|wouldnt|ain't|"
    "denies any|denied any|denies having|denied having|denies having any|denied having any|no recent|"
    "don't have|doesn't have|didn't have|haven't had|hasn't had|don't have any|doesn't have any|haven't had any"
)

# Stand after what they negate.
AFTER = _phrases(
    "is absent|are absent|was absent|were absent|not present|not seen|not found|not noted|not there|not observed|"
    "is negative|are negative|was negative|were negative|is ruled out|was ruled out|were ruled out|are ruled out|"
    "been ruled out|ruled out|is denied|was denied|are denied|were denied|is unlikely|are unlikely|unlikely"
)

# Words that negate the one beside them alone: "non-itchy", "pain-free".
NEXT, LAST = _phrases("non"), _phrases("free")

# Negate what stands before where nothing follows in the sentence: "fever: no", "chest pain absent.", "chills? none".
ANSWERS = _words("no none nil absent negative denied denies not never")

# End the reach of a trigger.
TERMINATORS = _phrases(
    "but|however|although|though|except|except for|apart from|aside from|other than|besides|yet|nevertheless|"
    "nonetheless|still|which|who|whom|because|because of|since|due to|owing to|secondary to|caused by|as a cause of|"
    "as a result of|then|until|unless|while|whereas|when|whenever|only|just|instead|yes|now|today|"
    "i have|i've|i am|i'm|i feel|i get|i got|i had|i also|i do|he has|she has|they have|he is|she is|it is|it's|"
    "there is|there are|there was|there were|has been|have been|presents with|complains of|reports|reported|"
    "positive for|is present|are present"
)

# After a comma or "and" these begin a clause of its own: "no fever, my throat hurts".
OPENERS = _words(
    """
    i i've i'm my he his she her we our you your they their it it's this these that there some just also even now has
    have had is are am was were feel feels felt get gets got been having with
    """
)
