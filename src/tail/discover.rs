//! Which files a source's globs name now, and which directories have to be watched to hear of new ones.
//!
//! A glob is walked component by component, so only directories that can hold a match are listed, and each is
//! watched *before* it is listed. A literal component costs no listing at all. Nothing here looks at what kind
//! of thing a name is: most names are known already, and the tailer looks at the others anyway.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// At most so many names are looked at in one pass over one source's globs.
const NAMES: usize = 500_000;

/// `**` goes down so many directories.
const DEPTH: usize = 24;

/// The globs of one source, ready to use.
#[derive(Debug)]
pub(super) struct Globs {
    walks: Vec<Walk>,
    any: GlobSet,
    not_path: GlobSet,
    not_name: GlobSet,
}

#[derive(Debug)]
struct Walk {
    text: String,
    matcher: Option<GlobMatcher>,
    prefix: PathBuf,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Literal(String),
    Match(Box<GlobMatcher>),
    /// Everything below; the whole path is matched instead.
    Deep,
}

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Names that the globs match, exclusions left out, each once.
    pub(super) paths: Vec<PathBuf>,
    /// Globs that match no name.
    pub(super) empty: Vec<String>,
    /// Directories that could not be listed.
    pub(super) unlisted: Vec<(PathBuf, io::Error)>,
    /// How many names were looked at: what the next pass will cost.
    pub(super) looked: usize,
}

impl Globs {
    /// Compiles; `config` has checked them, so a glob that does not compile just matches nothing.
    pub(super) fn new(globs: &[String], exclude: &[String]) -> Globs {
        let (names, paths): (Vec<&String>, Vec<&String>) = exclude.iter().partition(|e| !e.contains('/'));
        Globs {
            walks: globs.iter().map(|g| Walk::new(g)).collect(),
            any: set(globs.iter()),
            not_path: set(paths.into_iter()),
            not_name: set(names.into_iter()),
        }
    }

    /// Whether `path` is asked for.
    pub(super) fn matches(&self, path: &Path) -> bool {
        // A glob without magic is a path, also where its name would not compile as a glob.
        (self.any.is_match(path) || self.walks.iter().any(|w| w.steps.is_empty() && w.prefix == path))
            && !self.excluded(path)
    }

    /// Those that are no globs: plain paths.
    pub(super) fn literal(&self) -> impl Iterator<Item = &Path> {
        self.walks.iter().filter(|w| w.steps.is_empty()).map(|w| w.prefix.as_path())
    }

    fn excluded(&self, path: &Path) -> bool {
        self.not_path.is_match(path) || path.file_name().is_some_and(|n| self.not_name.is_match(Path::new(n)))
    }

    /// Walks all globs. `watch` is told of each directory before it is listed, and of the directory of each
    /// literal path.
    pub(super) fn find(&self, watch: &mut dyn FnMut(&Path)) -> Found {
        let mut found = Found::default();
        for walk in &self.walks {
            let before = found.paths.len();
            walk.run(self, watch, &mut found);
            if found.paths.len() == before {
                found.empty.push(walk.text.clone());
            }
        }
        found.paths.sort();
        found.paths.dedup();
        found
    }
}

fn set<'a>(globs: impl Iterator<Item = &'a String>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs.filter_map(|g| compile(g)) {
        set.add(glob);
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

fn compile(glob: &str) -> Option<Glob> {
    GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build().ok()
}

fn magic(component: &str) -> bool {
    component.contains(['*', '?', '[', '{', '\\'])
}

impl Walk {
    fn new(glob: &str) -> Walk {
        let mut prefix = PathBuf::from("/");
        let mut steps = vec![];
        for component in glob.split('/').filter(|c| !c.is_empty()) {
            if !magic(component) && steps.is_empty() {
                prefix.push(component);
            } else if !magic(component) {
                steps.push(Step::Literal(component.to_owned()));
            } else if component == "**"
                || component.matches('{').count() != component.matches('}').count()
                || component.matches('[').count() != component.matches(']').count()
            {
                // `**`, or an alternation that spans components.
                steps.push(Step::Deep);
                break;
            } else {
                match compile(component) {
                    Some(glob) => steps.push(Step::Match(Box::new(glob.compile_matcher()))),
                    None => steps.push(Step::Deep),
                }
            }
        }
        Walk { text: glob.to_owned(), matcher: compile(glob).map(|g| g.compile_matcher()), prefix, steps }
    }

    fn run(&self, globs: &Globs, watch: &mut dyn FnMut(&Path), found: &mut Found) {
        let parent = if self.steps.is_empty() { self.prefix.parent() } else { Some(self.prefix.as_path()) };
        if let Some(parent) = parent {
            watch(nearest(parent));
        }
        self.step(&self.prefix, &self.steps, DEPTH, globs, watch, found);
    }

    fn step(
        &self,
        at: &Path,
        steps: &[Step],
        depth: usize,
        globs: &Globs,
        watch: &mut dyn FnMut(&Path),
        found: &mut Found,
    ) {
        let Some((step, rest)) = steps.split_first() else {
            found.looked += 1;
            if !globs.excluded(at) && fs::symlink_metadata(at).is_ok() {
                found.paths.push(at.to_path_buf());
            }
            return;
        };
        if let Step::Literal(name) = step {
            if rest.is_empty() {
                watch(at);
            }
            return self.step(&at.join(name), rest, depth, globs, watch, found);
        }
        if depth == 0 || found.looked >= NAMES {
            return;
        }
        watch(at);
        let entries = match fs::read_dir(at) {
            Ok(entries) => entries,
            Err(e) => {
                if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::NotADirectory {
                    found.unlisted.push((at.to_path_buf(), e));
                }
                return;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            found.looked += 1;
            let name = entry.file_name();
            let is_dir = |follow: bool| match entry.file_type() {
                Ok(t) if t.is_symlink() => follow && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()),
                Ok(t) => t.is_dir(),
                Err(_) => false,
            };
            match step {
                Step::Match(m) if m.is_match(Path::new(&name)) => {
                    if rest.is_empty() {
                        let path = entry.path();
                        if !globs.excluded(&path) {
                            found.paths.push(path);
                        }
                    } else if is_dir(true) {
                        self.step(&entry.path(), rest, depth, globs, watch, found);
                    }
                }
                Step::Deep => {
                    // Symlinked directories are not followed below `**`: they may lead back up.
                    if is_dir(false) {
                        self.step(&entry.path(), steps, depth - 1, globs, watch, found);
                    } else if self.matcher.as_ref().is_some_and(|m| m.is_match(entry.path()))
                        && !globs.excluded(&entry.path())
                    {
                        found.paths.push(entry.path());
                    }
                }
                _ => {}
            }
        }
    }
}

/// `dir`, or the nearest directory above it that exists: watched, it tells when the missing ones are made.
fn nearest(dir: &Path) -> &Path {
    dir.ancestors().find(|d| d.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn find(dir: &Path, globs: &[&str], exclude: &[&str]) -> (Vec<String>, Vec<String>, Found) {
        let full: Vec<String> = globs.iter().map(|g| format!("{}/{g}", dir.display())).collect();
        let exclude: Vec<String> = exclude.iter().map(|&g| g.to_owned()).collect();
        let globs = Globs::new(&full, &exclude);
        let (mut watched, relative) = (vec![], |p: &Path| p.strip_prefix(dir).unwrap().display().to_string());
        let found = globs.find(&mut |d| watched.push(relative(d)));
        watched.sort();
        watched.dedup();
        for path in &found.paths {
            assert!(globs.matches(path), "{path:?}");
        }
        (found.paths.iter().map(|p| relative(p)).collect(), watched, found)
    }

    #[test]
    fn globs_name_files_and_the_directories_to_watch() {
        let dir = tree(&["syslog", "app/a.log", "app/a.log.gz", "app/deep/b.log", "web/c.log"]);
        let (files, watched, found) = find(dir.path(), &["syslog", "*/*.log*", "none/*.log"], &["*.gz"]);
        assert_eq!(files, ["app/a.log", "syslog", "web/c.log"]);
        assert_eq!(watched, ["", "app", "none", "web"]);
        assert_eq!(found.empty, [format!("{}/none/*.log", dir.path().display())]);
    }

    #[test]
    fn two_stars_go_down_and_braces_choose() {
        let dir = tree(&["a/x.log", "a/b/y.log", "a/b/z.txt", "c/w.err"]);
        assert_eq!(find(dir.path(), &["**/*.log"], &[]).0, ["a/b/y.log", "a/x.log"]);
        assert_eq!(find(dir.path(), &["{a,c}/*.{log,err}"], &[]).0, ["a/x.log", "c/w.err"]);
        assert_eq!(find(dir.path(), &["{a/b,c}/*.{log,err}"], &[]).0, ["a/b/y.log", "c/w.err"]);
    }

    #[test]
    fn a_missing_directory_has_the_one_above_it_watched() {
        let dir = tree(&["x"]);
        assert_eq!(find(dir.path(), &["later/on/*.log"], &[]).1, ["", "later/on"]);
    }
}
