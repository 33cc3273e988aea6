"""Trained models that come with the library, or were packed by it: sampled without their data and their runs.

run of a student  →  `pack`  →  a folder of small files  →  `load_model`  →  samplers

FOLDER/model.json                        how the networks are built, and where they come from
FOLDER/teacher.npz, student-STAGE.npz    averaged parameters, rounded to bfloat16
FOLDER/examples.npz                      the conditioning of the data's first examples
FOLDER/README.md                         the model card
"""
