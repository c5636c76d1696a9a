"""Folders of known layout as tables of cases, and a folder to predict as the cases in it.

nnU-Net's layout: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md (its first version and the
Medical Segmentation Decathlon's are read too).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from galenic.core import registry
from galenic.core.contract import Field
from galenic.core.errors import MissingFile, SeriesError, TaskError, UnreadableFile, ValueProblem
from galenic.core.task import Task
from galenic.formats import dicom
from galenic.images import kinds, read
