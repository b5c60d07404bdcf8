//! The board: room and writes of its disks, memory, load, temperature, power, clock and uptime, as the kernel tells them.
//!
//! Sources: proc(5); `Documentation/hwmon/sysfs-interface` and `Documentation/admin-guide/iostats` of the kernel; for
//! `get_throttled` the Raspberry Pi firmware's documentation (bits 0 to 3: now, 16 to 19: since the start).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::asset::bytes_text;

/// Sectors of the block layer's counters, whatever the disk has.
const SECTOR: u64 = 512;

/// A disk with less room than this share of it, or fewer free inodes, is told of.
const LITTLE: u64 = 20;

/// Degrees Celsius from which the board is too hot: a Raspberry Pi slows down at 80.
const HOT: f64 = 80.0;

/// The room on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes free for us.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Inodes free and in all; `None`: the file system makes them as it needs them.
    pub inodes: Option<(u64, u64)>,
    /// The device, as major and minor number.
    pub device: (u32, u32),
}

/// A disk, by what lies on it.
#[derive(Clone, PartialEq, Debug)]
pub struct Disk {
    /// `inbox`, `storage`, `data`; those on one disk are named together.
    pub name: String,
    /// Its room; `None`: it does not answer.
    pub room: Option<Room>,
    /// Bytes written to the whole device per hour, by everybody; `None`: not known yet.
    pub written_per_hour: Option<u64>,
}

impl Disk {
    /// What is the matter with it, and what to do: one sentence, without figures that change with every look.
    pub fn trouble(&self) -> Option<String> {
        let room = self.room?;
        let name = &self.name;
        if room.total > 0 && room.free < room.total / LITTLE {
            return Some(format!(
                "The disk of {name} is nearly full: {} of {} are free. Make room, or move it to a larger disk.",
                bytes_text(room.free),
                bytes_text(room.total)
            ));
        }
        let (free, total) = room.inodes?;
        (total > 0 && free < total / LITTLE).then(|| {
            format!(
                "The disk of {name} has room for only {free} more files, whatever their size. Delete or archive many small files."
            )
        })
    }
}

/// Memory of the board and of this process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What programs could still have.
    pub available: u64,
    /// Swap in use.
    pub swap_used: u64,
    /// What this process holds in memory.
    pub own: u64,
}

/// When something was so, since the start of the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum When {
    /// Never.
    #[default]
    Never,
    /// It was, and is no more.
    Before,
    /// It is.
    Now,
}

impl When {
    fn of(now: bool, before: bool) -> Self {
        match (now, before) {
            (true, _) => Self::Now,
            (_, true) => Self::Before,
            _ => Self::Never,
        }
    }
}

/// What a Raspberry Pi says of its power supply and its heat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Power {
    /// The voltage is too low.
    pub low: When,
    /// The board slows itself down.
    pub throttled: When,
}

/// How the board is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Board {
    /// The disks.
    pub disks: Vec<Disk>,
    /// Bytes this process caused to be written per hour; `None`: not known yet.
    pub own_written_per_hour: Option<u64>,
    /// Bytes this process caused to be written since its start.
    pub own_written: u64,
    /// Memory.
    pub memory: Memory,
    /// Processes that ran or waited, on average over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// The hottest sensor, in degrees Celsius.
    pub temperature: Option<f64>,
    /// The power supply; `None`: nobody says.
    pub power: Option<Power>,
    /// Whether a time service keeps the clock; `None`: nobody says.
    pub clock_is_kept: Option<bool>,
    /// How long the machine has been up.
    pub uptime: Option<Duration>,
}

impl Board {
    /// What is the matter with the board itself, with the key of its incident.
    pub fn troubles(&self) -> Vec<(&'static str, Option<String>)> {
        let power = self.power.unwrap_or_default();
        let hot = self.temperature.filter(|degrees| *degrees >= HOT);
        vec![
            (
                "board/power",
                (power.low == When::Now).then(|| {
                    "The power supply is too weak: the voltage is low. Files can be damaged by it. Use the board's own supply and a short cable.".to_owned()
                }),
            ),
            (
                "board/heat",
                (hot.is_some() || power.throttled == When::Now && power.low != When::Now).then(|| {
                    "The board is too hot and slows itself down. Give it air, or a heat sink.".to_owned()
                }),
            ),
            (
                "board/clock",
                (self.clock_is_kept == Some(false)).then(|| {
                    "No time service keeps the clock, so times on this page may be wrong. Connect the board to the internet, or install systemd-timesyncd.".to_owned()
                }),
            ),
        ]
    }
}

/// Looks at the board again and again: rates come from two looks.
#[derive(Debug)]
pub struct Sampler {
    proc: PathBuf,
    sys: PathBuf,
    before: Vec<((u32, u32), u64)>,
    own_before: Option<u64>,
    looked: Option<Instant>,
}

impl Default for Sampler {
    fn default() -> Self {
        Self::of(Path::new("/proc"), Path::new("/sys"))
    }
}

impl Sampler {
    fn of(proc: &Path, sys: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            sys: sys.to_owned(),
            before: Vec::new(),
            own_before: None,
            looked: None,
        }
    }

    /// Looks once. `rooms` are the disks by name, as far as they answer; those on one device are taken together.
    pub fn look(
        &mut self,
        rooms: Vec<(&str, Option<Room>)>,
        clock_is_kept: Option<bool>,
        now: Instant,
    ) -> Board {
        let passed = self.looked.map(|at| now.saturating_duration_since(at));
        let per_hour = |before: Option<u64>, after: u64| {
            let passed = passed.filter(|passed| passed.as_secs() >= 1)?;
            let gained = u128::from(after.saturating_sub(before?));
            u64::try_from(gained * 3_600_000 / passed.as_millis()).ok()
        };
        let mut disks: Vec<Disk> = Vec::new();
        let mut counted = Vec::new();
        for (name, room) in rooms {
            let same = |disk: &&mut Disk| match (disk.room, room) {
                (Some(one), Some(other)) => one.device == other.device,
                _ => false,
            };
            if let Some(disk) = disks.iter_mut().find(same) {
                disk.name = format!("{}, {name}", disk.name);
                continue;
            }
            let written = room.and_then(|room| {
                let written = self.sectors_written(room.device)?.saturating_mul(SECTOR);
                let before = self
                    .before
                    .iter()
                    .find(|(device, _)| *device == room.device);
                counted.push((room.device, written));
                per_hour(before.map(|(_, written)| *written), written)
            });
            disks.push(Disk {
                name: name.to_owned(),
                room,
                written_per_hour: written,
            });
        }
        let own_written = self.own_written();
        let board = Board {
            disks,
            own_written_per_hour: per_hour(self.own_before, own_written),
            own_written,
            memory: self.memory(),
            load: self.load(),
            temperature: self.temperature(),
            power: self.power(),
            clock_is_kept,
            uptime: self.uptime(),
        };
        self.before = counted;
        self.own_before = Some(own_written);
        self.looked = Some(now);
        board
    }

    fn sectors_written(&self, (major, minor): (u32, u32)) -> Option<u64> {
        let stat = self.sys.join(format!("dev/block/{major}:{minor}/stat"));
        text(&stat)?.split_ascii_whitespace().nth(6)?.parse().ok()
    }

    fn own_written(&self) -> u64 {
        field(&self.proc.join("self/io"), "write_bytes:").unwrap_or_default()
    }

    fn memory(&self) -> Memory {
        let info = text(&self.proc.join("meminfo")).unwrap_or_default();
        let of = |name| 1024 * number_after(&info, name).unwrap_or_default();
        Memory {
            total: of("MemTotal:"),
            available: of("MemAvailable:"),
            swap_used: of("SwapTotal:").saturating_sub(of("SwapFree:")),
            own: 1024 * field(&self.proc.join("self/status"), "VmRSS:").unwrap_or_default(),
        }
    }

    fn load(&self) -> Option<[f64; 3]> {
        let text = text(&self.proc.join("loadavg"))?;
        let mut numbers = text.split(' ').filter_map(|number| number.parse().ok());
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    }

    fn uptime(&self) -> Option<Duration> {
        let text = text(&self.proc.join("uptime"))?;
        let seconds = text.split(' ').next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The hottest of what hwmon and the thermal zones say.
    fn temperature(&self) -> Option<f64> {
        let zones = entries(&self.sys.join("class/thermal"))
            .into_iter()
            .filter(|zone| named(zone, "thermal_zone"))
            .map(|zone| zone.join("temp"));
        let sensors = entries(&self.sys.join("class/hwmon"))
            .into_iter()
            .flat_map(|monitor| entries(&monitor))
            .filter(|file| named(file, "temp") && file.to_string_lossy().ends_with("_input"));
        let millidegrees = zones
            .chain(sensors)
            .filter_map(|file| text(&file)?.trim().parse::<i32>().ok());
        // What no board survives is a sensor that is not connected.
        let sane = millidegrees.filter(|degrees| (-40_000..150_000).contains(degrees));
        sane.max().map(|degrees| f64::from(degrees) / 1000.0)
    }

    fn power(&self) -> Option<Power> {
        let firmware = text(
            &self
                .sys
                .join("devices/platform/soc/soc:firmware/get_throttled"),
        );
        let bits = firmware.and_then(|text| u32::from_str_radix(text.trim(), 16).ok());
        let alarms: Vec<bool> = entries(&self.sys.join("class/hwmon"))
            .into_iter()
            .filter_map(|monitor| text(&monitor.join("in0_lcrit_alarm")))
            .map(|text| text.trim() == "1")
            .collect();
        if bits.is_none() && alarms.is_empty() {
            return None;
        }
        let bits = bits.unwrap_or_default();
        let has = |bit: u32| bits & (1 << bit) != 0;
        let alarm = alarms.contains(&true);
        Some(Power {
            low: When::of(has(0) || alarm, has(16)),
            throttled: When::of(has(1) || has(2) || has(3), has(17) || has(18) || has(19)),
        })
    }
}

/// The room on the disk of a folder; `None`: it does not answer.
pub fn room(folder: &Path) -> Option<Room> {
    use std::os::unix::fs::MetadataExt;
    let stat = rustix::fs::statvfs(folder).ok()?;
    let device = std::fs::metadata(folder).ok()?.dev();
    Some(Room {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some((stat.f_favail, stat.f_files)),
        device: (rustix::fs::major(device), rustix::fs::minor(device)),
    })
}

fn text(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn named(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(prefix)
}

/// The number after a name at the beginning of a line.
fn field(file: &Path, name: &str) -> Option<u64> {
    number_after(&text(file)?, name)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test lays out its files")]
    use super::*;

    /// A folder with the kernel's files of a board.
    struct Kernel(PathBuf);

    impl Kernel {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("board-{}-{name}", std::process::id()));
            drop(std::fs::remove_dir_all(&folder));
            Self(folder)
        }

        fn says(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    impl Drop for Kernel {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn a_room(free: u64, inodes: Option<(u64, u64)>) -> Room {
        Room {
            free,
            total: 1_000_000,
            inodes,
            device: (179, 2),
        }
    }

    #[test]
    fn a_raspberry_pi_with_a_weak_supply_is_read_from_the_kernel_s_files() {
        let kernel = Kernel::new("pi");
        kernel.says("proc/meminfo", "MemTotal:  440000 kB\nMemFree: 1 kB\nMemAvailable: 220000 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\n");
        kernel.says("proc/loadavg", "0.52 0.40 0.30 1/123 4567\n");
        kernel.says("proc/uptime", "86400.55 300000.00\n");
        kernel.says("proc/self/io", "rchar: 1\nwrite_bytes: 4096\n");
        kernel.says("proc/self/status", "Name: x\nVmRSS:\t   6000 kB\n");
        kernel.says("sys/class/thermal/thermal_zone0/temp", "61234\n");
        kernel.says("sys/class/hwmon/hwmon0/temp1_input", "81500\n");
        kernel.says("sys/class/hwmon/hwmon0/temp2_input", "-128000\n");
        kernel.says("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        kernel.says("sys/dev/block/179:2/stat", "1 2 3 4 5 6 2000 8 9 10 11\n");
        let mut sampler = Sampler::of(&kernel.0.join("proc"), &kernel.0.join("sys"));
        let start = Instant::now();
        let rooms = |free| {
            vec![
                ("inbox", Some(a_room(free, None))),
                ("storage", Some(a_room(free, None))),
                ("data", None),
            ]
        };
        let first = sampler.look(rooms(900_000), Some(false), start);
        assert_eq!(first.own_written_per_hour, None, "one look makes no rate");
        kernel.says("proc/self/io", "rchar: 1\nwrite_bytes: 8192\n");
        kernel.says("sys/dev/block/179:2/stat", "1 2 3 4 5 6 2100 8 9 10 11\n");
        let board = sampler.look(
            rooms(10_000),
            Some(false),
            start + Duration::from_secs(1800),
        );
        assert_eq!(board.own_written_per_hour, Some(8192));
        assert_eq!(board.disks.len(), 2, "two folders on one disk are one");
        assert_eq!(board.disks[0].name, "inbox, storage");
        assert_eq!(board.disks[0].written_per_hour, Some(100 * 512 * 2));
        assert!(board.disks[0].trouble().is_some());
        assert_eq!(board.memory.available, 220_000 * 1024);
        assert_eq!(board.memory.swap_used, 40 * 1024);
        assert_eq!(board.memory.own, 6000 * 1024);
        assert_eq!(board.load, Some([0.52, 0.40, 0.30]));
        assert_eq!(board.temperature, Some(81.5));
        assert_eq!(board.uptime, Some(Duration::from_millis(86_400_550)));
        assert!(board.power.is_some_and(|power| power.low == When::Now));
        let open: Vec<&str> = board
            .troubles()
            .into_iter()
            .filter_map(|(key, text)| text.map(|_| key))
            .collect();
        assert_eq!(open, ["board/power", "board/heat", "board/clock"]);
    }

    #[test]
    fn the_firmware_s_word_tells_what_is_from_what_was() {
        let kernel = Kernel::new("firmware");
        kernel.says(
            "sys/devices/platform/soc/soc:firmware/get_throttled",
            "50000\n",
        );
        let sampler = Sampler::of(&kernel.0.join("proc"), &kernel.0.join("sys"));
        let power = sampler.power().expect("it is told");
        assert_eq!(power.low, When::Before);
        assert_eq!(power.throttled, When::Before);
    }

    #[test]
    fn a_machine_that_says_nothing_is_no_trouble() {
        let kernel = Kernel::new("silent");
        let mut sampler = Sampler::of(&kernel.0.join("proc"), &kernel.0.join("sys"));
        let board = sampler.look(vec![("data", None)], None, Instant::now());
        assert_eq!(board.power, None);
        assert_eq!(board.temperature, None);
        assert!(board.troubles().iter().all(|(_, text)| text.is_none()));
        assert!(board.disks[0].trouble().is_none());
    }

    #[test]
    fn a_disk_without_inodes_is_told_of_and_one_that_makes_them_is_not() {
        let disk = |inodes| Disk {
            name: "storage".to_owned(),
            room: Some(a_room(500_000, inodes)),
            written_per_hour: None,
        };
        assert!(disk(Some((10, 1_000))).trouble().is_some());
        assert!(disk(Some((900, 1_000))).trouble().is_none());
        assert!(disk(None).trouble().is_none());
    }

    #[test]
    fn this_machine_is_read() {
        let mut sampler = Sampler::default();
        let board = sampler.look(
            vec![("data", room(&std::env::temp_dir()))],
            None,
            Instant::now(),
        );
        assert!(board.memory.total > board.memory.own && board.memory.own > 0);
        assert!(board.load.is_some() && board.uptime.is_some());
        assert!(board.disks[0].room.is_some_and(|room| room.total > 0));
    }
}
