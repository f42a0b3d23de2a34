//! Addresses in the kernel's contexts: four words, each read or written by itself. Not all contexts allow two at once, and none
//! the byte-wise copy that the compiler would call.

/// Reads one.
///
/// # Safety
/// `words` is an address field of a context.
#[inline(always)]
pub(crate) unsafe fn load(words: *const [u32; 4]) -> [u32; 4] {
    let word = |at: usize| {
        let place = words.cast::<u32>().wrapping_add(at);
        // SAFETY: by the caller, and `at` is below four.
        unsafe { place.read_volatile() }
    };
    [word(0), word(1), word(2), word(3)]
}

/// Writes one.
///
/// # Safety
/// `words` is an address field of a context that may be written.
#[inline(always)]
pub(crate) unsafe fn store(words: *mut [u32; 4], values: [u32; 4]) {
    let set = |at: usize, value: u32| {
        let place = words.cast::<u32>().wrapping_add(at);
        // SAFETY: by the caller, and `at` is below four.
        unsafe { place.write_volatile(value) };
    };
    let [a, b, c, d] = values;
    set(0, a);
    set(1, b);
    set(2, c);
    set(3, d);
}
