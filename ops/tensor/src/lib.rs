//! Dtypes, shapes, host tensors, quantisation parameters and the npy and npz formats.
