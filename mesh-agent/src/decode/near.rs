//! Near misses: which supported name was probably meant.

/// The candidate closest to `written`, if it is close enough to be a slip.
pub(crate) fn nearest(written: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // A long text is no slip, and the distance costs the product of both lengths.
    if written.len() > 64 {
        return None;
    }
    let plain = fold(written);
    let allowed = (plain.len() / 4).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&plain, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Lower case, without underscores: `bindToPort`, `bind_to_port` and `bind-to-port` are alike.
fn fold(name: &str) -> Vec<char> {
    name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["name", "bind_to_port", "filter_chains", "listener_filters"];
        let meant = |written| nearest(written, names.into_iter());
        assert_eq!(meant("filter_chain"), Some("filter_chains"));
        assert_eq!(meant("bind-to-port"), Some("bind_to_port"));
        assert_eq!(meant("nmae"), None, "two edits in four letters are too many");
        assert_eq!(meant("nam"), Some("name"));
        assert_eq!(meant("tcp_backlog_size"), None);
    }
}
