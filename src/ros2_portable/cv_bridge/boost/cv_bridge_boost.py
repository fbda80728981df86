"""The functions that the original implements in C++, under their original import path."""

from ..conversion import cvtColor2, cvtColorForDisplay
from ..encodings import CV_MAT_CNWrap, CV_MAT_DEPTHWrap, getCvType

__all__ = ["CV_MAT_CNWrap", "CV_MAT_DEPTHWrap", "cvtColor2", "cvtColorForDisplay", "getCvType"]
