//! When the configuration is to be read again: its folder changed, or the process got SIGHUP.
//!
//! Folders are watched, not files: editors replace a file, and mounted volumes swap a link beside it. But only what
//! the files hold counts: other files of the folder may change all the time, a log of ours among them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long nothing must change before the file is read: a file that is half written is no news.
const QUIET: Duration = Duration::from_millis(200);
/// After how long it is read although things keep changing.
const RESTLESS: Duration = Duration::from_secs(2);

/// Tells when something may have changed.
pub(crate) struct Changes {
    changed: mpsc::Receiver<()>,
    tell: mpsc::Sender<()>,
    /// Watches as long as it lives; none as long as there is nothing to watch.
    watcher: Option<RecommendedWatcher>,
    /// What it watches.
    folders: BTreeSet<PathBuf>,
    /// The files that count, and what they held when it was last told of them.
    files: BTreeSet<PathBuf>,
    held: Option<u64>,
    /// SIGHUP came: it is read again in any case.
    asked: Arc<AtomicBool>,
}

impl Changes {
    /// Watches the folders of these files, and listens for SIGHUP; there must be a runtime.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        let (tell, changed) = mpsc::channel(1);
        let asked = Arc::<AtomicBool>::default();
        hang_up(tell.clone(), Arc::clone(&asked));
        let mut this = Self {
            changed,
            tell,
            watcher: None,
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
            held: None,
            asked,
        };
        if !files.is_empty() {
            this.watch(files);
            // What changed since the files were read and before they were watched would go unseen.
            let _ = this.tell.try_send(());
        }
        this
    }

    /// Watches the folders of these files too.
    pub(crate) fn watch(&mut self, files: &[PathBuf]) {
        self.files.extend(files.iter().cloned());
        for folder in folders(files) {
            if self.folders.contains(&folder) {
                continue;
            }
            match self.watch_folder(&folder) {
                Ok(()) => {
                    self.folders.insert(folder);
                }
                Err(error) => cannot_watch(&error),
            }
        }
    }

    fn watch_folder(&mut self, folder: &Path) -> notify::Result<()> {
        let watcher = match self.watcher.take() {
            Some(watcher) => watcher,
            None => watcher(self.tell.clone())?,
        };
        let watcher = self.watcher.insert(watcher);
        watcher.watch(folder, RecursiveMode::NonRecursive)
    }

    /// Waits until something changed and has come to rest.
    pub(crate) async fn next(&mut self) {
        loop {
            self.rest().await;
            let asked = self.asked.swap(false, Ordering::AcqRel);
            let files = self.files.clone();
            let held = tokio::task::spawn_blocking(move || digest_of(&files)).await;
            let held = held.ok();
            if std::mem::replace(&mut self.held, held) != held || asked {
                return;
            }
        }
    }

    async fn rest(&mut self) {
        // It lasts as long as there is somebody to tell, and this is one itself.
        self.changed.recv().await;
        let rest = async {
            while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changed.recv()).await {}
        };
        // Time is up, or all is quiet: both mean to read.
        let _ = tokio::time::timeout(RESTLESS, rest).await;
    }
}

/// A digest of what the files hold. What is no file, a pipe say, holds nothing.
fn digest_of(files: &BTreeSet<PathBuf>) -> u64 {
    let mut digest = DefaultHasher::new();
    for file in files {
        let held = file.is_file().then(|| std::fs::read(file).ok());
        held.flatten().hash(&mut digest);
    }
    digest.finish()
}

fn cannot_watch(error: &notify::Error) {
    tracing::warn!(%error, "the configuration cannot be watched: send SIGHUP after a change");
}

fn watcher(tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // To read a file is not to change it.
        let counts = event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_)));
        if counts {
            // One that is not taken yet stands for this one too.
            let _ = tell.try_send(());
        }
    })
}

/// The folders that the files are in.
fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let folder = |file: &PathBuf| match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    files.iter().map(folder).collect()
}

#[cfg(unix)]
fn hang_up(tell: mpsc::Sender<()>, asked: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::hangup()) {
        Ok(mut signals) => {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    asked.store(true, Ordering::Release);
                    let _ = tell.try_send(());
                }
            });
        }
        Err(error) => tracing::warn!(%error, "SIGHUP cannot be caught"),
    }
}

#[cfg(not(unix))]
fn hang_up(_: mpsc::Sender<()>, _: Arc<AtomicBool>) {}

#[cfg(test)]
mod tests {
    use super::*;

    async fn comes(changes: &mut Changes) -> bool {
        let wait = Duration::from_secs(5);
        tokio::time::timeout(wait, changes.next()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, "a").unwrap();
        let mut changes = Changes::of(std::slice::from_ref(&file));
        assert!(comes(&mut changes).await, "once at the beginning");
        std::fs::write(&file, "b").unwrap();
        std::fs::write(&file, "c").unwrap();
        assert!(comes(&mut changes).await);
        let other = folder.path().join("new");
        std::fs::write(&other, "d").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(comes(&mut changes).await);
        // A log of ours, say, which would tell of each reload and be told of.
        std::fs::write(folder.path().join("antiphon.log"), "reloaded").unwrap();
        let more = tokio::time::timeout(Duration::from_millis(600), changes.next());
        assert!(more.await.is_err(), "nothing else happened");
        std::fs::remove_file(&file).unwrap();
        assert!(comes(&mut changes).await);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_is_swapped_beside_the_file_is_told_of() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("v1", "a"), ("v2", "b")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("proxy.toml"), text).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/proxy.toml", at("proxy.toml")).unwrap();
        let mut changes = Changes::of(&[at("proxy.toml")]);
        assert!(comes(&mut changes).await, "once at the beginning");
        symlink("v2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(comes(&mut changes).await);
        assert_eq!(std::fs::read_to_string(at("proxy.toml")).unwrap(), "b");
    }

    #[tokio::test]
    async fn a_folder_that_is_named_later_is_watched_too() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |folder: &tempfile::TempDir| folder.path().join("a");
        std::fs::write(at(&other), "a").unwrap();
        let mut changes = Changes::of(&[at(&one)]);
        assert!(comes(&mut changes).await, "once at the beginning");
        changes.watch(&[at(&one), at(&other)]);
        std::fs::write(at(&other), "b").unwrap();
        assert!(comes(&mut changes).await);
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        let files = ["proxy.toml".into(), "/etc/a/b".into(), "/etc/a/c".into()];
        let found: Vec<PathBuf> = folders(&files).into_iter().collect();
        assert_eq!(found, [PathBuf::from("/etc/a"), PathBuf::from(".")]);
    }
}
