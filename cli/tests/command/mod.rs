//! Running the binary and looking at what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the embedded model.
pub fn digits(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits").join(name).display().to_string()
}

/// A folder of this test's own.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder; `name` is unique among tests.
    pub fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A file in it with this content.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Runs the binary.
pub fn tandem(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tandem")).args(arguments).output().unwrap()
}

/// stdout as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// stderr as text.
#[allow(dead_code, reason = "not every test file looks at it")]
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs the binary, which must succeed, and gives its stdout.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn good(arguments: &[&str]) -> String {
    let output = tandem(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs the binary, which must fail with exit code 2, nothing on stdout, and one line on stderr with these words.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn refused(arguments: &[&str], words: &[&str]) {
    let output = tandem(arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{arguments:?}: {text}");
    assert!(!text.contains("internal fault"), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: '{word}' is not in: {text}");
    }
}
