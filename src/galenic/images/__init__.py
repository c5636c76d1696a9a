"""Images and masks: pictures and volumes in, label maps out."""
