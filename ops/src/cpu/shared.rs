//! A result that several threads write, each its own elements.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A slice of which tasks write parts that do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a mutable slice; who writes which part is the contract of `part`.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Shared<'a, T> {
        Shared { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The first of the elements `at..at + len`, all of which are there.
    #[inline(always)]
    pub(crate) fn pointer(&self, at: usize, len: usize) -> *mut T {
        assert!(at <= self.len && len <= self.len - at, "a part beyond the end");
        self.first.wrapping_add(at)
    }

    /// The elements `at..at + len`.
    ///
    /// # Safety
    /// While the part lives, no other part with one of its elements may live.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "parts are disjoint by contract")]
    pub(crate) unsafe fn part(&self, at: usize, len: usize) -> &mut [T] {
        // SAFETY: the part lies within the slice, and the caller keeps parts apart.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at, len), len) }
    }
}

/// A list of `len` elements that `write` writes. Filling it with zeros first would draw every cache line to one core, from which the
/// others would have to fetch theirs.
///
/// # Safety
/// `write` writes every element.
pub(crate) unsafe fn written<T>(len: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut list = Vec::with_capacity(len);
    write(&mut list.spare_capacity_mut()[..len]);
    // SAFETY: there is room for the elements, and the caller has written them.
    unsafe { list.set_len(len) };
    list
}

/// Codes as places that are written to.
///
/// # Safety
/// Nothing but codes is written there.
pub(crate) unsafe fn places(codes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: both types are one byte, and every place holds a code, before and after.
    unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast(), codes.len()) }
}

/// Codes with a sign, of their bytes.
pub(crate) fn signed(bytes: Vec<u8>) -> Vec<i8> {
    let mut bytes = std::mem::ManuallyDrop::new(bytes);
    let (first, len, capacity) = (bytes.as_mut_ptr(), bytes.len(), bytes.capacity());
    // SAFETY: the memory is a list's that is given up here, and both types are one byte of which every value is valid.
    unsafe { Vec::from_raw_parts(first.cast(), len, capacity) }
}

/// Codes as bytes.
pub(crate) fn bytes(codes: &[i8]) -> &[u8] {
    // SAFETY: both types are one byte of which every value is valid.
    unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), codes.len()) }
}
