//! The folder of real models, which the repository does not contain.

use std::path::{Path, PathBuf};

/// Where the models are.
pub struct Models(PathBuf);

/// The folder, or `None` with a line that says so. `TANDEM_REQUIRE=models` makes its absence a failure.
pub fn models() -> Option<Models> {
    let folder = match std::env::var_os("TANDEM_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models"),
    };
    if folder.join("mlperf-tiny").is_dir() {
        return Some(Models(folder));
    }
    let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|r| r == "models"), "no models in {}", folder.display());
    println!("skipped: no models in {}; set TANDEM_MODELS", folder.display());
    None
}

impl Models {
    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let path = self.0.join(path);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Paths of all files with this extension, sorted.
    #[allow(dead_code)]
    pub fn files(&self, extension: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.0.clone()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|e| e == extension) {
                    found.push(path.strip_prefix(&self.0).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        assert!(!found.is_empty(), "no .{extension} file in {}", self.0.display());
        found
    }
}
