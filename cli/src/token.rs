//! The token of remote devices, from where the command line keeps it. The one place that reads this variable.

use anyhow::{Result, anyhow};
use std::env;
use std::path::Path;
use tandem_driver::remote::Token;

/// The variable with the token itself.
const VARIABLE: &str = "TANDEM_TOKEN";
/// Bytes of a file that are read: more than any token has.
const MOST: usize = 1 << 16;

/// The token of a file, else that of the environment.
///
/// # Errors
/// One sentence, which does not tell the token.
pub fn of(path: Option<&Path>) -> Result<Token> {
    const REMEDY: &str = "`openssl rand -hex 32 > token` makes one, for both sides";
    match (path, env::var_os(VARIABLE)) {
        (Some(path), _) => {
            let name = path.display();
            let length = std::fs::metadata(path).map(|file| file.len());
            let text = match length {
                Ok(length) if length > MOST as u64 => {
                    return Err(anyhow!("{name}: it is too long for a token; {REMEDY}"));
                }
                Ok(_) => std::fs::read(path),
                Err(error) => Err(error),
            };
            let text = text.map_err(|e| anyhow!("{name}: the token cannot be read ({e}); {REMEDY}"))?;
            Token::new(&text).map_err(|e| anyhow!("{name}: {e}"))
        }
        (None, Some(text)) => Token::new(text.as_encoded_bytes()).map_err(|e| anyhow!("{VARIABLE}: {e}")),
        (None, None) => {
            Err(anyhow!("a device of another machine needs a token: give --token-file, or set {VARIABLE}; {REMEDY}"))
        }
    }
}
