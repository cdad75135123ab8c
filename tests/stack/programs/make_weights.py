"""Writes random weights to the workspace: `python ... NAME=CHANNELS...`; the same name, the same weights."""

import sys

import torch
from monai.networks.nets import BasicUNet

for name, channels in (argument.split("=") for argument in sys.argv[1:]):
    torch.manual_seed(ord(name[0]))
    network = BasicUNet(spatial_dims=2, in_channels=int(channels), out_channels=1, features=(32, 64, 128, 256, 512, 32))
    torch.save(network.state_dict(), f"/workspace/{name}.pt")
