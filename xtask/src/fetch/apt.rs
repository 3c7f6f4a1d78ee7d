//! Fetches and unpacks Debian packages without changing the host.
//!
//! apt uses its own state folder in the cache, with sources derived from the mirrors in the host's
//! configuration. Signatures are checked against Debian's keyring. The host's apt and dpkg state is not
//! written, and no hook of the host runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::control::{self, Paragraph};
use crate::base::cache::{self, Lock};
use crate::base::child::{self, Own};
use crate::base::error::{Context, Error, Result};
use crate::base::host::Host;
use crate::base::verdict::Verdict;

/// Where Debian's archive keys lie on a Debian machine.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// What this room runs.
const PROGRAMS: [&str; 3] = ["apt-get", "apt-cache", "apt-config"];
/// Suites that have no security archive of their own.
const WITHOUT_SECURITY: [&str; 2] = ["sid", "unstable"];

/// apt for a suite, with its own state folder; one command at a time.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
    suite: String,
    _lock: Lock,
}

/// A package that the archive has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: `amd64` or `all`.
    pub architecture: String,
    /// The size of its file in bytes.
    pub size: u64,
    /// Its file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// The path of its file below the archive's address.
    pub path: String,
}

impl Package {
    /// The name under which apt stores its file.
    pub fn file(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

impl Apt {
    /// Prepares apt for `suite` and fetches the archive's index.
    ///
    /// `installed` is the dpkg status with the dependencies that count as installed; empty for none.
    ///
    /// # Errors
    /// There is no apt, no Debian mirror is configured, or the index cannot be obtained.
    pub fn open(host: &Host, suite: &str, installed: &str) -> Result<Apt> {
        for program in PROGRAMS {
            if which::which(program).is_err() {
                return Err(Error::new(format!("cannot fetch Debian packages of {suite}"))
                    .because(format!("there is no {program} on this machine"))
                    .help("use a machine with apt, such as Debian or a Debian container")
                    .verdict(Verdict::Unavailable));
            }
        }
        let lock = host.cache.lock(&host.ui, &format!("apt-{suite}"))?;
        let folder = host.cache.folder("apt")?.join(suite);
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let sub = folder.join(sub);
            fs::create_dir_all(&sub).map_err(|e| cache::denied("cannot create", &sub, &e))?;
        }
        let apt = Apt { folder, suite: suite.to_owned(), _lock: lock };
        let sources = sources(&mirrors()?, suite, &keyring()?)?;
        apt.write("sources.list", &sources)?;
        apt.write("status", installed)?;
        apt.write("apt.conf", &apt.configuration(&acquire_options()?))?;
        host.ui.say(format!("fetching the package index of Debian {suite}"));
        apt.run("apt-get", &["-q", "update"], "cannot fetch the package index")
            .map_err(|error| error.verdict(Verdict::Unavailable))?;
        Ok(apt)
    }

    /// The suite.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The packages whose whole name matches a regular expression, the newest version first.
    ///
    /// # Errors
    /// apt fails.
    pub fn packages(&self, pattern: &str) -> Result<Vec<Package>> {
        let failure = "cannot search the package index";
        let found = self.run("apt-cache", &["--names-only", "search", &format!("^{pattern}$")], failure)?;
        let mut names: Vec<&str> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let shown = self.run("apt-cache", &[&["show"], names.as_slice()].concat(), failure)?;
        let mut packages = parse_packages(&shown);
        packages.sort_by(|a, b| newer(&b.version, &a.version));
        Ok(packages)
    }

    /// Downloads a package's file, with its signature and digest checked by apt.
    ///
    /// # Errors
    /// The archive or the network fails, or the disk is full.
    pub fn download(&self, host: &Host, package: &Package) -> Result<PathBuf> {
        let folder = self.folder.join("cache/archives/partial");
        let path = self.folder.join(package.file());
        let what = format!("{}={}", package.name, package.version);
        // apt writes to the current folder, first under another name in `partial`.
        let bar = host.ui.bytes(&format!("fetching {}", package.name), Some(package.size));
        let progress = || {
            let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
            bar.set(size(&path).max(size(&folder.join(package.file()))));
        };
        self.watch("apt-get", &["-q", "download", &what], &format!("cannot fetch {what}"), progress)?;
        if !path.is_file() {
            return Err(Error::new(format!("cannot fetch {what}"))
                .because(format!("apt made no file {}", path.display())));
        }
        Ok(path)
    }

    /// Downloads a package with everything it depends on that the status given to
    /// [`Apt::open`] lacks, and returns the files.
    ///
    /// # Errors
    /// The dependencies cannot be met, or as for [`Apt::download`].
    pub fn download_with_dependencies(&self, host: &Host, name: &str) -> Result<Vec<PathBuf>> {
        let archives = self.folder.join("cache/archives");
        cache::remove(&archives)?;
        let partial = archives.join("partial");
        fs::create_dir_all(&partial).map_err(|e| cache::denied("cannot create", &partial, &e))?;
        let bar = host.ui.bytes(&format!("fetching {name} and its libraries"), None);
        let progress = || {
            let files = walkdir::WalkDir::new(&archives).into_iter().flatten();
            bar.set(files.filter_map(|f| f.metadata().ok()).map(|meta| meta.len()).sum());
        };
        self.watch(
            "apt-get",
            &["-q", "-y", "--download-only", "--no-install-recommends", "install", name],
            &format!("cannot fetch {name} and the libraries it needs"),
            progress,
        )?;
        let mut files = cache::read_dir(&archives)?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        if files.is_empty() {
            return Err(Error::new(format!("cannot fetch {name}")).because("apt fetched no file"));
        }
        Ok(files)
    }

    fn configuration(&self, acquire: &str) -> String {
        let folder = self.folder.display();
        format!(
            "{acquire}\
             Dir::Etc::Main \"/dev/null\";\n\
             Dir::Etc::Parts \"/dev/null\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\n\
             Dir::Etc::SourceList \"{folder}/sources.list\";\n\
             Dir::Etc::Preferences \"/dev/null\";\n\
             Dir::Etc::PreferencesParts \"/dev/null\";\n\
             Dir::State \"{folder}/state\";\n\
             Dir::State::status \"{folder}/status\";\n\
             Dir::Cache \"{folder}/cache\";\n\
             Dir::Cache::pkgcache \"\";\n\
             Dir::Cache::srcpkgcache \"\";\n\
             Dir::Log \"{folder}/state\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Architectures \"amd64\";\n\
             APT::Sandbox::User \"root\";\n\
             APT::Update::Error-Mode \"any\";\n\
             APT::Get::List-Cleanup \"true\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::AllowInsecureRepositories \"false\";\n\
             Acquire::AllowWeakRepositories \"false\";\n\
             Acquire::AllowDowngradeToInsecureRepositories \"false\";\n\
             APT::Get::AllowUnauthenticated \"false\";\n\
             Acquire::Retries \"1\";\n\
             Acquire::http::Timeout \"15\";\n\
             Acquire::https::Timeout \"15\";\n\
             Debug::NoLocking \"true\";\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|e| cache::denied("cannot write", &path, &e))
    }

    fn run(&self, program: &str, args: &[&str], failure: &str) -> Result<String> {
        self.watch(program, args, failure, || ())
    }

    /// Runs a program of apt on our configuration, calling `progress` while it works.
    fn watch(&self, program: &str, args: &[&str], failure: &str, progress: impl Fn()) -> Result<String> {
        let context = || format!("{failure} (Debian {})", self.suite);
        let command = child::mortal(duct::cmd(program, args), Signal::TERM, Own::Group)
            .dir(&self.folder)
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked();
        let (handle, _group) = child::in_group(|| command.start(), |handle| handle.pids())
            .context(|| format!("cannot run {program}"))?;
        let output = loop {
            let wait = handle.wait_timeout(Duration::from_millis(250));
            match wait.context(|| format!("cannot run {program}"))? {
                Some(output) => break output,
                None => progress(),
            }
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::new(context())
            .because(complaints(&String::from_utf8_lossy(&output.stderr), output.status))
            .help("check the network and the mirrors in /etc/apt"))
    }
}

/// The code name of the host's Debian release, such as `bookworm`.
///
/// # Errors
/// The host is not a Debian.
pub fn host_suite() -> Result<String> {
    let path = Path::new("/etc/os-release");
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    match (field("ID").as_deref(), field("VERSION_CODENAME")) {
        (Some("debian"), Some(name)) => Ok(name),
        _ => Err(Error::new("cannot determine the Debian release of this machine")
            .because(format!("{} names none", path.display()))),
    }
}

/// Whether apt can fetch what Debian's archive has: this is a Debian with its apt. The error says why not.
///
/// # Errors
/// It is another distribution, or apt is missing.
pub fn is_debians() -> std::result::Result<(), String> {
    host_suite().map_err(|_| "this machine is no Debian".to_owned())?;
    match PROGRAMS.iter().find(|program| which::which(program).is_err()) {
        None => Ok(()),
        Some(program) => Err(format!("there is no {program} on this machine")),
    }
}

/// The lines of apt's output that say what is wrong.
fn complaints(stderr: &str, status: std::process::ExitStatus) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("E: "))
        .filter(|line| !line.starts_with("Some index files failed"))
        .take(4)
        .collect();
    match lines.is_empty() {
        false => lines.join("\n"),
        true => format!("{status}, {}", stderr.trim()),
    }
}

/// An archive that the host's apt is configured with: its address and its suite.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    address: String,
    suite: String,
}

fn mirrors() -> Result<Vec<Mirror>> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"])
        .arg("Created-By: Packages")
        .output()
        .context(|| "cannot run apt-get".to_owned())?;
    Ok(parse_mirrors(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_mirrors(text: &str) -> Vec<Mirror> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('|');
            let (address, suite, component) = (fields.next()?, fields.next()?, fields.next()?);
            (component == "main").then(|| Mirror { address: address.to_owned(), suite: suite.to_owned() })
        })
        .collect()
}

/// The source list for a suite, with the addresses of the host's mirrors.
///
/// Third parties use Debian's suite names too, so addresses that end like Debian's are preferred. If one is
/// not Debian's, the signature check fails.
fn sources(mirrors: &[Mirror], suite: &str, keyring: &Path) -> Result<String> {
    let security = |m: &&Mirror| m.suite.ends_with("-security") || m.suite.ends_with("/updates");
    let named = |mirrors: Vec<&Mirror>, ending: &str| -> Option<String> {
        let ends = |m: &&&Mirror| m.address.trim_end_matches('/').ends_with(ending);
        let found = mirrors.iter().find(ends)?;
        Some(found.address.clone())
    };
    let main = named(mirrors.iter().filter(|m| !security(m)).collect(), "/debian");
    let Some(main) = main else {
        return Err(Error::new("cannot find a mirror of Debian's archive")
            .because("no source in /etc/apt ends in /debian")
            .help("add your Debian mirror to /etc/apt/sources.list.d")
            .verdict(Verdict::Unavailable));
    };
    let options = format!("[arch=amd64 signed-by={}]", keyring.display());
    let mut list = format!("deb {options} {main} {suite} main\n");
    if !WITHOUT_SECURITY.contains(&suite)
        && let Some(address) = named(mirrors.iter().filter(security).collect(), "/debian-security")
    {
        list += &format!("deb {options} {address} {suite}-security main\n");
    }
    Ok(list)
}

fn keyring() -> Result<PathBuf> {
    KEYRINGS.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
        Error::new("cannot check the signatures of Debian's archive")
            .because(format!("there is no {}", KEYRINGS[0]))
            .help("install the package debian-archive-keyring")
            .verdict(Verdict::Unavailable)
    })
}

/// The host's apt settings for access to mirrors (proxies, certificates, timeouts), as configuration lines.
/// Other settings, such as hooks, are left out on purpose.
fn acquire_options() -> Result<String> {
    let output = Command::new("apt-config")
        .args(["dump", "--no-empty", "--format", "%F \"%v\";%n", "Acquire"])
        .output()
        .context(|| "cannot run apt-config".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let kept = text
        .lines()
        .filter(|line| !line.starts_with("Acquire::IndexTargets") && !line.starts_with("Acquire::Languages"));
    Ok(kept.fold(String::new(), |all, line| all + line + "\n"))
}

/// Reads `apt-cache show`; paragraphs without a name, version, size, digest or path are left out, as are
/// those whose name or version is none by Debian's rules: they become names of files and arguments.
pub fn parse_packages(text: &str) -> Vec<Package> {
    let package = |paragraph: Paragraph<'_>| {
        let field = |name: &str| paragraph.field(name);
        Some(Package {
            name: field("Package").filter(|name| is_made_of(name, "+-."))?.to_owned(),
            version: field("Version").filter(|version| is_made_of(version, "+-.~:"))?.to_owned(),
            architecture: field("Architecture").filter(|name| is_made_of(name, "-"))?.to_owned(),
            size: field("Size")?.parse().ok()?,
            sha256: field("SHA256")?.to_owned(),
            path: field("Filename").filter(|path| is_made_of(path, "+-.~:/_%"))?.to_owned(),
        })
    };
    control::paragraphs(text).filter_map(package).collect()
}

/// Whether a word begins with a letter or digit, and otherwise has only letters, digits and these signs.
fn is_made_of(word: &str, signs: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || signs.contains(letter))
}

/// Compares two Debian versions as dpkg does.
fn newer(a: &str, b: &str) -> std::cmp::Ordering {
    let holds = |relation: &str| {
        let status = Command::new("dpkg").args(["--compare-versions", a, relation, b]).status();
        status.is_ok_and(|status| status.success())
    };
    match (holds("gt"), holds("lt")) {
        (true, _) => std::cmp::Ordering::Greater,
        (_, true) => std::cmp::Ordering::Less,
        _ => std::cmp::Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://example.org/pg/|bookworm-pgdg|main\n\
        http://example.org/debian/|bookworm|main\n\
        http://example.org/debian/|bookworm|contrib\n\
        http://example.org/debian-security/|bookworm-security|main\n";

    #[test]
    fn sources_follow_the_hosts_mirrors_with_the_suite_replaced() {
        let mirrors = parse_mirrors(TARGETS);
        assert_eq!(mirrors.len(), 3);
        let list = sources(&mirrors, "trixie", Path::new("/k.gpg")).unwrap();
        assert_eq!(
            list,
            "deb [arch=amd64 signed-by=/k.gpg] http://example.org/debian/ trixie main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://example.org/debian-security/ trixie-security main\n"
        );
        let unstable = sources(&mirrors, "sid", Path::new("/k.gpg")).unwrap();
        assert_eq!(unstable.lines().count(), 1);
    }

    #[test]
    fn signatures_are_checked_whatever_the_host_allows() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(cache::Cache::at(folder.path().join("c")), false);
        let lock = host.cache.lock(&host.ui, "apt").unwrap();
        let apt = Apt { folder: folder.path().into(), suite: "s".into(), _lock: lock };
        let text = apt.configuration("Acquire::AllowInsecureRepositories \"true\";\n");
        for name in ["InsecureRepositories", "WeakRepositories", "DowngradeToInsecureRepositories"] {
            let last = text.lines().rfind(|line| line.contains(&format!("Acquire::Allow{name} ")));
            assert_eq!(last, Some(format!("Acquire::Allow{name} \"false\";").as_str()));
        }
        let list = sources(&parse_mirrors(TARGETS), "bookworm", Path::new("/k.gpg")).unwrap();
        assert!(list.lines().all(|line| line.contains("signed-by=/k.gpg")), "{list}");
    }

    #[test]
    fn without_a_debian_mirror_there_is_an_error() {
        let error = sources(&[], "bookworm", Path::new("/k.gpg")).unwrap_err();
        assert_eq!(error.verdict_given(), Some(Verdict::Unavailable));
        assert!(error.to_string().contains("/etc/apt"));
    }

    #[test]
    fn packages_are_read_by_paragraph() {
        let text = "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nSize: 7\nSHA256: ff\n\
            Filename: pool/a.deb\n\nPackage: b\nVersion: 1\n\n";
        let packages = parse_packages(text);
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].size, 7);
        assert_eq!(packages[0].file(), "a_1%3a2-3_amd64.deb");
    }

    #[test]
    fn names_that_leave_their_folder_are_no_packages() {
        let named = |[name, version, architecture]: [&str; 3]| {
            let text = format!(
                "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nSize: 7\nSHA256: ff\n\
                 Filename: pool/a.deb\n"
            );
            parse_packages(&text).len()
        };
        assert_eq!(named(["libc6.1+x-y", "1:2~3-4+b1", "all"]), 1);
        for words in [
            ["../a", "1", "all"],
            ["a", "1/../../b", "all"],
            ["a", "1", "all/../b"],
            ["-a", "1", "all"],
            ["a", "-1", "all"],
            ["a b", "1", "all"],
        ] {
            assert_eq!(named(words), 0, "{words:?}");
        }
    }

    #[test]
    fn complaints_are_apts_errors() {
        let status = std::os::unix::process::ExitStatusExt::from_raw(25600);
        let text = "W: odd\nE: Failed to fetch x\nE: Some index files failed to download.\n";
        assert_eq!(complaints(text, status), "Failed to fetch x");
        assert!(complaints("boom", status).ends_with("100, boom"));
    }
}
