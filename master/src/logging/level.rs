//! The words of a log level. The filter itself accepts nearly any word as the name of a module, and
//! logs nothing of it, or everything.

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `Err`: what is not understood, and what would be.
pub(crate) fn check_level(text: &str) -> Result<(), String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_module = |word: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
        !word.is_empty() && word.chars().all(is_letter)
    };
    for part in text.split(',') {
        let is_right = match part.trim().split_once('=') {
            None => is_level(part.trim()),
            Some((module, level)) => is_module(module) && is_level(level),
        };
        if !is_right {
            let levels = LEVELS.join(", ");
            return Err(format!("{part:?} is not understood, must be {levels}, or MODULE=LEVEL, separated by commas"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_and_modules_have_one() {
        for right in ["info", "WARN", "off", "info,master=debug", "info, master::pair=trace", "h2=off,warn"] {
            assert_eq!(check_level(right), Ok(()), "{right}");
        }
        for wrong in ["loud", "", "info,", "master", "=debug", "info,master=loud", "info=debug=x", "a b=info"] {
            assert!(check_level(wrong).is_err(), "{wrong}");
        }
    }
}
