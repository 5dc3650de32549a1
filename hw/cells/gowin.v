// Cells of Gowin GW2A.
