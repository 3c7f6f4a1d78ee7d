//! The package managers of distributions, and what packages are called there.
//!
//! In this project packages go by their Debian names. Those of the others come from the distributions'
//! own lists and were not tried: only Debian is here. An install line says so.

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian, Ubuntu and their like.
    Apt,
    /// Fedora and its like.
    Dnf,
    /// Arch and its like.
    Pacman,
    /// openSUSE.
    Zypper,
}

/// What brings one thing: its name for people, and the package with it for each manager.
struct Brings {
    thing: &'static str,
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
    zypper: &'static str,
}

const fn same(thing: &'static str) -> Brings {
    Brings { thing, apt: thing, dnf: thing, pacman: thing, zypper: thing }
}

const PACKAGES: [Brings; 14] = [
    Brings {
        thing: "qemu-system-x86_64",
        apt: "qemu-system-x86",
        dnf: "qemu-system-x86-core",
        pacman: "qemu-system-x86",
        zypper: "qemu-x86",
    },
    Brings {
        thing: "a static busybox",
        apt: "busybox-static",
        dnf: "busybox",
        pacman: "busybox",
        zypper: "busybox-static",
    },
    Brings {
        thing: "the C library's headers and libc.a",
        apt: "libc6-dev",
        dnf: "glibc-static",
        pacman: "glibc",
        zypper: "glibc-devel-static",
    },
    Brings {
        thing: "libelf's headers",
        apt: "libelf-dev",
        dnf: "elfutils-libelf-devel",
        pacman: "libelf",
        zypper: "libelf-devel",
    },
    Brings {
        thing: "OpenSSL's headers",
        apt: "libssl-dev",
        dnf: "openssl-devel",
        pacman: "openssl",
        zypper: "libopenssl-devel",
    },
    Brings {
        thing: "the headers of ncurses",
        apt: "libncurses-dev",
        dnf: "ncurses-devel",
        pacman: "ncurses",
        zypper: "ncurses-devel",
    },
    same("make"),
    same("gcc"),
    same("binutils"),
    same("flex"),
    same("bison"),
    same("bc"),
    same("cpio"),
    same("git"),
];

impl PackageManager {
    const ALL: [PackageManager; 4] =
        [PackageManager::Apt, PackageManager::Dnf, PackageManager::Pacman, PackageManager::Zypper];

    /// The one of this host, if it has one of these.
    pub fn of_host() -> Option<PackageManager> {
        PackageManager::ALL.into_iter().find(|manager| which::which(manager.program()).is_ok())
    }

    fn program(self) -> &'static str {
        match self {
            PackageManager::Apt => "apt-get",
            PackageManager::Dnf => "dnf",
            PackageManager::Pacman => "pacman",
            PackageManager::Zypper => "zypper",
        }
    }

    /// The command that installs packages, of which Debian's names are given. With `yes` it asks nothing.
    pub fn install(self, debian: &[&str], yes: bool) -> Vec<String> {
        let (options, sure): (&[&str], &[&str]) = match self {
            PackageManager::Apt => (&["install", "--no-remove"], &["-y"]),
            PackageManager::Dnf => (&["install"], &["-y"]),
            PackageManager::Pacman => (&["-S", "--needed"], &["--noconfirm"]),
            PackageManager::Zypper => (&["install"], &["-y"]),
        };
        let sure = if yes { sure } else { &[] };
        let names = debian.iter().map(|name| self.name(name));
        let words = [self.program()].into_iter().chain(options.iter().copied()).chain(sure.iter().copied());
        words.chain(names).map(str::to_owned).collect()
    }

    /// What a package of Debian is called here.
    fn name(self, debian: &str) -> &str {
        let Some(brings) = PACKAGES.iter().find(|brings| brings.apt == debian) else { return debian };
        match self {
            PackageManager::Apt => brings.apt,
            PackageManager::Dnf => brings.dnf,
            PackageManager::Pacman => brings.pacman,
            PackageManager::Zypper => brings.zypper,
        }
    }
}

/// What to type to install packages, of which Debian's names are given.
pub fn install_line(manager: Option<PackageManager>, root: bool, debian: &[&str]) -> String {
    let Some(manager) = manager else {
        let things = debian.iter().map(|name| {
            PACKAGES.iter().find(|brings| brings.apt == *name).map_or(*name, |brings| brings.thing)
        });
        return format!("install {}", things.collect::<Vec<_>>().join(", "));
    };
    let sudo = if root { "" } else { "sudo " };
    let line = manager.install(debian, false).join(" ");
    match manager {
        PackageManager::Apt => format!("{sudo}{line}"),
        // Behind a `#`, so that the line can be typed as it is.
        _ => format!("{sudo}{line}  # these names were not tried"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_has_its_line() {
        let line = |manager| install_line(manager, false, &["qemu-system-x86", "libc6-dev", "flex"]);
        assert_eq!(
            line(Some(PackageManager::Apt)),
            "sudo apt-get install --no-remove qemu-system-x86 libc6-dev flex"
        );
        assert_eq!(
            line(Some(PackageManager::Dnf)),
            "sudo dnf install qemu-system-x86-core glibc-static flex  # these names were not tried"
        );
        assert_eq!(
            line(Some(PackageManager::Pacman)),
            "sudo pacman -S --needed qemu-system-x86 glibc flex  # these names were not tried"
        );
        assert_eq!(
            line(Some(PackageManager::Zypper)),
            "sudo zypper install qemu-x86 glibc-devel-static flex  # these names were not tried"
        );
        assert_eq!(line(None), "install qemu-system-x86_64, the C library's headers and libc.a, flex");
    }

    #[test]
    fn nothing_is_asked_of_who_has_agreed() {
        assert_eq!(PackageManager::Dnf.install(&["bc"], true).join(" "), "dnf install -y bc");
        assert_eq!(
            PackageManager::Pacman.install(&["bc"], true).join(" "),
            "pacman -S --needed --noconfirm bc"
        );
    }
}
