// Cells of Lattice iCE40.
