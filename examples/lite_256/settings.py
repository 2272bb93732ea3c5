"""Every choice that was tuned, and the sizes of things."""

import numpy as np
import numpy.typing as npt

from hashcli.hashmodel.description import Resize

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

NAME = "lite-256"
BITS = 256
SIZE = 288  # the backbone was trained at 224; more finds smaller things, and int8 is fast enough for it
RESIZE: Resize = "squash"
MAX_TOKENS = 64
WIDTH = 384  # of a sentence vector
TOP = 1280  # features of an image that ImageNet's classifier sees
MIDDLE = 112  # and those of a layer in the middle, which knows more of texture, colour and place than of things
MIDDLE_BLOCK = 10
FEATURES = TOP + MIDDLE
CAPTIONS = 5  # of a photo

VIEWS = {"train": 4, "general": 4}  # of each photo that is trained on: whole, mirrored, and parts of it
LEAST_PART = {"train": 0.5, "general": 0.1}  # of a photo's area. A caption must still fit its part

FOLDS = 4
HIDDEN = 288  # units of one fold's projection
DROPOUT = 0.5
TEXT_MAP_STEPS = 400
PROJECTION_STEPS = 1000
PROJECTION_BATCH = 256
STAY = 0.3  # weight of how far other sentences are moved by the text map
TEMPERATURE = 2.0  # of ImageNet's class probabilities: at 1 the first class hides the rest of the picture
# The share of the class names in the teacher's score. Flickr8k's captions teach more about its own photos.
CLASS_SHARE = {"train": 0.25, "general": 0.5}

HASH_STEPS = 2000
HASH_BATCH = {"train": 400, "general": 300, "loose": 200}  # photos with captions, others; sentences of each kind
TEACHER_SCALE = 30.0  # of its scores before the softmax; with more, only the best count
HASH_LOSSES = {"pair": 1.0, "teacher": 2.0, "captions": 0.3, "balance": 3.0}
PREFIXES = {64: 0.05, 128: 0.45, 256: 0.5}  # bits, and the share of steps that train a code cut to them
SYMMETRIC_SHARE = 0.25  # of steps that compare sign with sign; the others compare floats with signs
