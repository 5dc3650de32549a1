//! How rows are spread over threads.

/// Elements that a task takes at least: what a thread does in about ten microseconds.
const ELEMENTS: usize = 1 << 14;

/// Elements of the whole rows of `n` elements that a task takes; 1 where rows are empty.
pub(super) fn task(n: usize) -> usize {
    (ELEMENTS / n.max(1)).max(1) * n.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_whole_rows() {
        for n in [1, 3, 64, 1000, 1 << 14, 1 << 20] {
            assert!(task(n) >= n && task(n).is_multiple_of(n));
        }
        assert!(task(0) > 0);
    }
}
