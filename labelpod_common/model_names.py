"""The models of MONAI Label's radiology app that MODELS may name."""

MODELS = (
    "deepgrow_2d",
    "deepgrow_3d",
    "deepedit",
    "segmentation",
    "segmentation_spleen",
    "localization_spine",
    "localization_vertebra",
    "segmentation_vertebra",
    "sw_fastedit",
    "sam2",
)
