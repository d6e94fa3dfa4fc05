//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Time is at most pattern times text, whatever the pattern.

/// True if the whole text matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star: only the last one ever needs another try.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            while p < pattern.len() && pattern[p] == b'*' {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        match (t < text.len(), p < pattern.len()) {
            (false, false) => return true,
            (true, true) => {
                let (matched, next) = match_one(pattern, p, text[t]);
                if matched {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            (false, true) => return false,
            (true, false) => {}
        }
        let Some((star, tried)) = retry else { return false };
        if tried == text.len() {
            return false;
        }
        retry = Some((star, tried + 1));
        (p, t) = (star, tried + 1);
    }
}

/// Matches one byte against the pattern's element at `p`; also says where the next element starts.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => match_class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte, p + 2),
        literal => (literal == byte, p + 1),
    }
}

/// A class whose `[` has been read; without its `]` it reaches to the end, as in Redis.
fn match_class(pattern: &[u8], mut p: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    p += negated as usize;
    let mut matched = false;
    loop {
        match pattern.get(p) {
            None => return (matched != negated, p),
            Some(b']') => return (matched != negated, p + 1),
            Some(b'\\') if p + 1 < pattern.len() => {
                matched |= pattern[p + 1] == byte;
                p += 2;
            }
            Some(&from) if pattern.get(p + 1) == Some(&b'-') && p + 2 < pattern.len() => {
                let to = pattern[p + 2];
                matched |= (from.min(to)..=from.max(to)).contains(&byte);
                p += 3;
            }
            Some(&one) => {
                matched |= one == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*aab", "aaaaab", true),
            ("[", "a", false),
            ("[a", "a", true),
            ("\\", "\\", true),
            ("a[]b", "ab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn an_evil_pattern_ends() {
        let text = vec![b'a'; 10_000];
        assert!(!matches("a*a*a*a*a*a*a*a*b".as_bytes(), &text));
        for byte in [b'*', b'[', b'\\'] {
            matches(&vec![byte; 100_000], &text);
        }
    }
}
