//! Graph to Plan: fuse, partition and place.
