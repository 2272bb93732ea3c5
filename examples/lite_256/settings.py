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
STRIDE = 32  # pixels of the photo to a place of the last features
SHRUNK = 4  # pixels of the photo to one of its small copy, whose colours are counted
SEEN_SHARPNESS = 3.0
LEVELS = 4  # of red, green and blue in a histogram of colours
HISTOGRAMS = 3  # of the whole photo, of where the backbone sees most, and of the middle
COLOURS = HISTOGRAMS * LEVELS**3
FEATURES = TOP + MIDDLE + COLOURS
PAIRS = ("train", "coco")  # sets of photos with captions to train on: of Flickr8k and of COCO
CAPTIONS = {"train": 5, "dev": 5, "coco": 1, "held out": 1}  # of each photo
FIVE = ("train", "coco captions")  # sets of texts with five in a row of each photo

VIEWS = {"train": 3, "coco": 3, "general": 2}  # of each photo that is trained on: whole, mirrored, and parts of it
LEAST_PART = {"train": 0.5, "coco": 0.5, "general": 0.1}  # of a photo's area. A caption must still fit its part

FOLDS = 4
HIDDEN = 400  # units of one fold's projection
TEXT_HIDDEN = 1024  # and of the text map
DROPOUT = {"features": 0.5, "colours": 0.2, "hidden": 0.5, "sentences": 0.4}
PROJECTION_STEPS = 1000
PROJECTION_BATCH = {"train": 256, "coco": 128, "tagged": 256, "captions": 320}
OTHER_COLOURS = 2.0  # weight of a caption with other colours among the wrong ones
WORD_LOSS = 0.15  # weight of the loss that tells photos with a word from others
CAPTION_LOSS = 1.0  # weight of the loss that tells two captions of one photo from those of others
STAY = 0.3  # weight of how far other sentences are moved by the text map
TEMPERATURE = 2.0  # of ImageNet's class probabilities: at 1 the first class hides the rest of the picture
# The share of the class names in the teacher's score. Flickr8k's captions teach more about its own photos.
CLASS_SHARE = {"train": 0.1, "coco": 0.1, "general": 0.3, "tagged": 0.3}

HASH_STEPS = 2000
HASH_BATCH = {"train": 300, "coco": 150, "general": 200, "tagged": 150, "loose": 200}  # photos; sentences of each kind
TEACHER_SCALE = 30.0  # of its scores before the softmax; with more, only the best count
HASH_LOSSES = {"pair": 1.0, "teacher": 2.0, "captions": 0.3, "colours": 0.3, "words": 0.15, "balance": 3.0}
PREFIXES = {64: 0.05, 128: 0.45, 256: 0.5}  # bits, and the share of steps that train a code cut to them
SYMMETRIC_SHARE = 0.25  # of steps that compare sign with sign; the others compare floats with signs
