//! What a peer sent, fit for a message.

/// The beginning of some bytes: printable and short.
pub fn excerpt(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(60).map(|b| if b.is_ascii_graphic() { *b as char } else { '.' }).collect();
    match bytes.len() {
        0 => "nothing".to_owned(),
        n if n > 60 => format!("'{text}…' ({n} bytes)"),
        _ => format!("'{text}'"),
    }
}
