//! Compares short texts as machine words. For names of providers and models a call of `memcmp` costs more than the comparison.

/// Returns the last eight bytes, or all bytes of a shorter text. Different texts of the same length, up to eight bytes, have
/// different words.
#[inline]
pub(super) fn last_word(text: &[u8]) -> u64 {
    if let Some(last) = text.last_chunk() {
        return u64::from_le_bytes(*last);
    }
    ends(text)
}

/// Returns the first and the last four bytes, which may overlap, or all of them.
#[inline]
pub(super) fn ends(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Returns whether two texts are equal.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // The chunks and the last words may overlap.
    if a.len() > 16 {
        let (chunks, others) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
        return (a.last_chunk::<16>() == b.last_chunk()) & (a.first_chunk::<16>() == b.first_chunk())
            && (a.len() <= 32 || chunks.iter().zip(others).skip(1).all(|(chunk, other)| chunk == other));
    }
    a.first_chunk::<8>() == b.first_chunk() && last_word(a) == last_word(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_that_differ_in_a_byte_differ(text in prop::collection::vec(any::<u8>(), 0..80), at: usize, by in 1..=u8::MAX) {
            let mut other = text.clone();
            prop_assert!(same(&text, &other));
            if !text.is_empty() {
                other[at % text.len()] ^= by;
                prop_assert!(!same(&text, &other));
                prop_assert!(text.len() > 8 || last_word(&text) != last_word(&other));
            }
        }

        #[test]
        fn texts_are_the_same_if_they_are_equal(a in "[ab]{0,5}", b in "[ab]{0,5}", ending in "[a-z]{0,40}") {
            let [a, b] = [a, b].map(|beginning| beginning + &ending);
            prop_assert_eq!(same(a.as_bytes(), b.as_bytes()), a == b);
        }
    }
}
