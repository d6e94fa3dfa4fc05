//! What the tests of all protocols ask of a decoder.

use super::{Kind, Protocol, Reply, Values};

/// What it makes of these bytes, in words; `tell` has those for the values of a multi-key read.
pub fn show(decoder: &impl Protocol, kind: Kind, input: &[u8], tell: impl Fn(Values) -> String) -> String {
    match decoder.decode(kind, input) {
        Err(why) => format!("malformed: {why}"),
        Ok(None) => "incomplete".into(),
        Ok(Some((Reply::Values(values), length))) => format!("{} in {length}", tell(values)),
        Ok(Some((Reply::Value(value), length))) => format!("{:?} in {length}", String::from_utf8_lossy(value)),
        Ok(Some((Reply::Error(why), length))) => format!("error {:?} in {length}", String::from_utf8_lossy(why)),
        Ok(Some((reply, length))) => format!("{reply:?} in {length}"),
    }
}

/// Values that come with their keys, as `key=value`.
pub fn key_values(values: Values) -> String {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let values: Vec<_> = values.map(|found| format!("{}={}", text(found.key), text(found.value))).collect();
    values.join(" ")
}

/// Each of `replies` is shown as expected, whatever comes behind it, and as incomplete wherever it is cut.
pub fn check_whole_and_at_every_cut(
    show: impl Fn(Kind, &[u8]) -> String,
    replies: &[(Kind, &[u8], &str)],
    behind: &[u8],
) {
    for (kind, input, expected) in replies {
        assert_eq!(&show(*kind, &[input, behind].concat()), expected);
        for cut in 0..input.len() {
            assert_eq!(show(*kind, &input[..cut]), "incomplete", "{:?}", String::from_utf8_lossy(&input[..cut]));
        }
    }
}
