"""Writes random weights for both click models; runs in a label server's container: `python ... APP`."""

import sys

import torch
from monai.networks.nets import BasicUNet

torch.manual_seed(1)
for dimensions in (2, 3):
    network = BasicUNet(dimensions, 3, 1, features=(32, 64, 128, 256, 512, 32))
    torch.save(network.state_dict(), f"/workspace/{sys.argv[1]}/model/pretrained_deepgrow_{dimensions}d.pt")
