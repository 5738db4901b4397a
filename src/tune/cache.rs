//! Choices on disk: a file per adapter, driver and version of the kernels, safe to delete at any time.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::files::{self, replace};
use crate::gpu::{Choice, Gpu, ShapeClass, Verdict, VersusDense};

/// Version of the file format.
const FORMAT: u32 = 2;

/// Largest file accepted. Files of choices are far smaller.
const MOST_BYTES: u64 = 64 << 20;

/// Longest wait for another process, which holds the lock while it reads and writes a small file.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where choices are kept: `FRETWORK_CACHE`, or else a folder of our own in the user's cache directory, if there is one.
pub(super) fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = set("FRETWORK_CACHE") {
        return Some(own);
    }
    // The convention of each platform; XDG ignores relative paths.
    let user = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    user.filter(|path| path.is_absolute()).map(|path| path.join("fretwork"))
}

/// Contents of a file: the owner and its choices.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    format: u32,
    /// All that choices depend on besides the shape.
    owner: Owner,
    /// Parsed one by one, so that choices unknown to this version are skipped.
    choices: Vec<Value>,
}

impl Contents {
    /// Contents of a file's bytes.
    ///
    /// # Errors
    /// Why the file is ignored.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text: Value = serde_json::from_slice(bytes).map_err(|error| format!("is damaged: {error}"))?;
        let format = text.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT.into()) {
            return Err("is of another version".to_owned());
        }
        serde_json::from_value(text).map_err(|error| format!("is damaged: {error}"))
    }

    /// The choices that this version knows.
    fn verdicts(self) -> Vec<(ShapeClass, Verdict)> {
        let verdict = |line: Value| {
            let Line { class, choice, versus_dense } = serde_json::from_value(line).ok()?;
            let versus_dense = versus_dense.filter(|versus| versus.density > 0.0 && versus.time.is_finite());
            Some((class, Verdict { choice: choice.parse::<Choice>().ok()?, versus_dense }))
        };
        self.choices.into_iter().filter_map(verdict).collect()
    }
}

/// The choices in a file's bytes, of any owner.
///
/// # Errors
/// Why the file is ignored.
pub(crate) fn choices(bytes: &[u8]) -> Result<Vec<(ShapeClass, Verdict)>, String> {
    Ok(Contents::parse(bytes)?.verdicts())
}

/// All that the speed of a kernel depends on besides the shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Owner {
    adapter: String,
    backend: String,
    driver: String,
    /// Of vendor and device.
    ids: [u32; 2],
    /// Digest of the shader sources.
    version: String,
    shaders: String,
    checked: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    class: ShapeClass,
    choice: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    versus_dense: Option<VersusDense>,
}

/// The file of one device.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    owner: Owner,
}

impl Cache {
    /// The file of this device in a folder, which need not be there.
    pub(super) fn new(folder: &Path, gpu: &Gpu) -> Self {
        let info = gpu.info();
        let mut shaders = Digest::new();
        for (path, text) in gpu.sources().files() {
            shaders.add(path);
            shaders.add(text);
        }
        let owner = Owner {
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            driver: gpu.driver(),
            ids: [info.vendor, info.device],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shaders: shaders.hex(),
            checked: gpu.checked_shaders(),
        };
        let mut all = Digest::new();
        all.add(&format!("{FORMAT} {owner:?}"));
        let readable: String = info.name.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
        let path = folder.join(format!("tuning-{}-{}.json", readable.to_lowercase(), all.hex()));
        Self { path, owner }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The choices in the file, none where there is no file.
    ///
    /// # Errors
    /// Why the file was ignored.
    pub(super) fn read(&self) -> Result<Vec<(ShapeClass, Verdict)>, String> {
        let bytes = match files::read(&self.path, MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(Error::Io { error, .. }) => return Err(format!("cannot be read: {error}")),
            Err(Error::Data { reason, .. }) => return Err(reason),
            Err(error) => return Err(error.to_string()),
        };
        let contents = Contents::parse(&bytes)?;
        if contents.owner != self.owner {
            return Err("is of another device or driver, or of other kernels".to_owned());
        }
        Ok(contents.verdicts())
    }
    /// Adds choices to those in the file. Of a class that is there already the new one counts. Another process may do the same
    /// at the same time, and neither loses anything.
    ///
    /// # Errors
    /// Why nothing was written.
    pub(super) fn add(&self, found: &[(ShapeClass, Verdict)]) -> Result<(), String> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot be written: {error}"))?;
        let _lock = lock(&folder.join("tuning.lock"));
        // A damaged file, or one of another version, is replaced.
        let mut choices: BTreeMap<_, _> = self.read().unwrap_or_default().into_iter().collect();
        choices.extend(found.iter().copied());
        let line = |(class, verdict): (ShapeClass, Verdict)| {
            let choice = verdict.choice.name().to_owned();
            serde_json::to_value(Line { class, choice, versus_dense: verdict.versus_dense })
        };
        let contents = Contents {
            format: FORMAT,
            owner: self.owner.clone(),
            choices: choices
                .into_iter()
                .map(line)
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
        };
        let text = serde_json::to_string_pretty(&contents).map_err(|error| error.to_string())?;
        replace(&self.path, text.as_bytes()).map_err(|error| format!("cannot be written: {error}"))
    }
}

/// Keeps others from writing, as long as it is held. Where files cannot be locked, or somebody holds on to it for too long,
/// there is none: the file is whole all the same, and at worst a choice has to be measured again.
fn lock(path: &Path) -> Option<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
        }
    }
}

/// FNV-1a: names files and tells versions apart, and guards against nobody.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a text and its end.
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}
