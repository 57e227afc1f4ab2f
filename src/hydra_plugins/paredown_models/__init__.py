"""Options of conf/model that need no yaml: every classifier of torchvision and timm by its name."""
