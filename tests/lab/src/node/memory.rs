//! What the processes of a node have in memory.

use anyhow::Result;

use super::Node;

/// Where the texts lie meanwhile: the search's own arguments would be found by whoever reads /proc.
const TEXTS: &str = "/root/searched";

/// Reads all memory of a program's processes, and tells which line of the texts is in which mapping. Of each line
/// any 13 characters count, one after the other from its beginning: a buffer may have kept a piece.
const SEARCH: &str = r#"
    open(my $list, "<", $ARGV[1]) or die "texts: $!";
    chomp(my @texts = <$list>);
    my %line;
    for my $n (0 .. $#texts) {
        for (my $i = 0; $i == 0 || $i + 13 <= length $texts[$n]; $i += 13) {
            $line{substr($texts[$n], $i, 13)} = $texts[$n];
        }
    }
    my $any = join("|", map(quotemeta, keys %line));
    my @pids = split(" ", `pidof $ARGV[0]`) or die "$ARGV[0] does not run\n";
    my %found;
    for my $pid (@pids) {
        open(my $maps, "<", "/proc/$pid/maps") or die "maps: $!";
        open(my $memory, "<:raw", "/proc/$pid/mem") or die "mem: $!";
        while (<$maps>) {
            my ($from, $to, $where) = /^(\w+)-(\w+) r\S+ \S+ \S+ \S+ *(.*)$/ or next;
            no warnings "portable";
            sysseek($memory, hex $from, 0) or next;
            my ($left, $tail) = (hex($to) - hex($from), "");
            while ($left > 0) {
                my $got = sysread($memory, my $piece, $left < 1 << 20 ? $left : 1 << 20) or last;
                $left -= $got;
                my $text = $tail . $piece;
                while ($text =~ /($any)/g) { $found{"$line{$1} in " . ($where || "anonymous memory")} = 1 }
                $tail = substr($text, -12);
            }
        }
    }
    print map("$_\n", sort keys %found);
"#;

impl Node {
    /// Looks for texts in the memory of all processes of a program. Each line of the answer is one text, ` in ` and
    /// what kind of memory has it or a piece of 13 characters of it.
    ///
    /// # Errors
    /// When the program does not run there, or its memory cannot be read.
    pub fn find_in_memory(&self, program: &str, texts: &[&str]) -> Result<Vec<String>> {
        self.write_file(TEXTS, 0o600, texts.join("\n"))?;
        let found = self.exec(["perl", "-e", SEARCH, program, TEXTS])?.ok();
        self.exec(["rm", TEXTS])?.ok()?;
        Ok(found?.lines().map(str::to_owned).collect())
    }
}
