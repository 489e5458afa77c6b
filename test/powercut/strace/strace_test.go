package strace

import (
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/test/powercut/disk"
)

var written = regexp.MustCompile(`"[^"]*"|</[^>]*>`)

// recorded reads a trace that is written for people: strings and paths become hex.
func recorded(t *testing.T, text string) []Event {
	t.Helper()
	text = written.ReplaceAllStringFunc(strings.TrimLeft(text, "\n"), func(s string) string {
		encoded := hex.EncodeToString([]byte(s[1 : len(s)-1]))
		var b strings.Builder
		b.WriteByte(s[0])
		for i := 0; i < len(encoded); i += 2 {
			b.WriteString(`\x` + encoded[i:i+2])
		}
		b.WriteByte(s[len(s)-1])
		return b.String()
	})
	events, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func replayed(t *testing.T, text string) *Replay {
	t.Helper()
	r := New(disk.NewFolder(), "/r", nil)
	for _, e := range recorded(t, text) {
		if err := r.Step(e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func names(s disk.State) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, name+"="+string(s[name]))
	}
	return strings.Join(all, " ")
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ trace, worst, whole string }{
		"nothing below the folder": {`
1 openat(AT_FDCWD</r/x>, "/etc/file", O_RDWR|O_CREAT, 0644) = 3</etc/file>
1 write(3</etc/file>, "abc", 3) = 3
1 write(4<socket:[17]>, "GET /r/file", 11) = 11
1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000
1 unlink("/etc/file") = 0
`, "", ""},
		"a file and its name": {`
1 open("/r/file", O_RDWR|O_CREAT, 0644) = 3</r/file>
1 pwrite64(3</r/file>, "abc", 3, 2) = 3
1 fsync(3</r/file>) = 0
1 open("/r", O_RDONLY) = 4</r>
1 fsync(4</r>) = 0
1 pwrite64(3</r/file>, "x", 1, 0) = 1
`, "file=\x00\x00abc", "file=x\x00abc"},
		"a name that is not synced": {`
1 open("/r/file", O_WRONLY|O_CREAT, 0644) = 3</r/file>
1 write(3</r/file>, "abc", 3) = 3
1 fsync(3</r/file>) = 0
`, "", "file=abc"},
		"an fsync that fails": {`
1 open("/r", O_RDONLY) = 4</r>
1 open("/r/file", O_WRONLY|O_CREAT, 0644) = 3</r/file>
1 fsync(4</r>) = -1 EIO (Input/output error)
`, "", "file="},
		"writes follow each other, and only as far as they came": {`
1 open("/r/file", O_WRONLY|O_CREAT, 0644) = 3</r/file>
1 write(3</r/file>, "abc", 3) = 2
1 writev(3</r/file>, [{iov_base="c", iov_len=1}, {iov_base="d", iov_len=1}], 2) = 2
1 lseek(3</r/file>, 1, SEEK_SET) = 1
1 write(3</r/file>, "B", 1) = 1
1 ftruncate(3</r/file>, 3) = 0
`, "", "file=aBc"},
		"by folders, renamed, under the same number": {`
1 mkdirat(AT_FDCWD</>, "/r/in", 0750) = 0
1 mkdirat(AT_FDCWD</>, "/r/to", 0750) = 0
1 openat(AT_FDCWD</>, "/r", O_RDONLY|O_DIRECTORY) = 3</r>
1 fsync(3</r>) = 0
1 openat2(3</r>, "in", {flags=O_RDONLY|O_DIRECTORY|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}, 24) = 4</r/in>
1 openat(4</r/in>, "x", O_WRONLY|O_CREAT|O_EXCL, 0440) = 5</r/in/x>
1 write(5</r/in/x>, "abc", 3) = 3
1 fsync(5</r/in/x>) = 0
1 close(5</r/in/x>) = 0
1 openat(3</r>, "to", O_RDONLY|O_DIRECTORY) = 5</r/to>
1 renameat(4</r/in>, "x", 5</r/to>, "blob") = 0
1 fsync(5</r/to>) = 0
1 linkat(5</r/to>, "blob", 5</r/to>, "other", 0) = 0
1 unlinkat(5</r/to>, "blob", 0) = 0
`, "to/blob=abc", "to/other=abc"},
		"an fsync keeps what had returned when it began": {`
1 open("/r", O_RDONLY) = 3</r>
1 open("/r/one", O_WRONLY|O_CREAT, 0644) = 4</r/one>
1 open("/r/two", O_WRONLY|O_CREAT, 0644 <unfinished ...>
2 fsync(3</r> <unfinished ...>
1 <... open resumed>) = 5</r/two>
2 <... fsync resumed>) = 0
`, "one=", "one= two="},
		"who meets a folder knows that it was made": {`
1 open("/r", O_RDONLY) = 3</r>
1 mkdir("/r/a", 0750 <unfinished ...>
2 mkdir("/r/a", 0750) = -1 EEXIST (File exists)
2 fsync(3</r>) = 0
1 <... mkdir resumed>) = 0
2 open("/r/a/file", O_WRONLY|O_CREAT, 0644) = 4</r/a/file>
2 open("/r/a", O_RDONLY) = 5</r/a>
2 fsync(5</r/a>) = 0
`, "a/file=", "a/file="},
		"a killed program": {`
1 open("/r", O_RDONLY) = 3</r>
1 open("/r/file", O_WRONLY|O_CREAT, 0644) = 4</r/file>
2 fsync(3</r> <unfinished ...>
1 write(4</r/file>, "abc", 3 <detached ...>
2 <... fsync resumed>) = ?
`, "", "file="},
	} {
		r := replayed(t, test.trace)
		if worst, whole := names(r.Root.Worst()), names(r.Root.Whole()); worst != test.worst || whole != test.whole {
			t.Errorf("%s: %q at worst, %q in all; want %q and %q", name, worst, whole, test.worst, test.whole)
		}
	}
}

// TestNotModelled: what the model does not know is an error, and not passed over.
func TestNotModelled(t *testing.T) {
	t.Parallel()
	const open = `1 open("/r/file", O_RDWR|O_CREAT, 0644) = 3</r/file>` + "\n"
	for _, line := range []string{
		`1 fallocate(3</r/file>, 0, 0, 4096) = 0`,
		`1 dup(3</r/file>) = 4</r/file>`,
		`1 copy_file_range(9</etc/x>, NULL, 3</r/file>, NULL, 10, 0) = 10`,
		`1 symlink("target", "/r/link") = 0`,
		`1 truncate("/r/file", 0) = 0`,
		`1 write(7</r/unknown>, "abc", 3) = 3`,
		`1 write(3</r/file>, "abc", 3) = 3`, // it may have been read before
		`1 open("/r/other", O_RDONLY) = 4</r/other>`,
		`1 open("/r/other", O_WRONLY|O_CREAT|O_DSYNC, 0644) = 4</r/other>`,
		`1 openat2(AT_FDCWD</>, "/r/other", {flags=O_WRONLY|O_CREAT|O_DSYNC, resolve=0}, 24) = 4</r/other>`,
		`1 rename("/r/file", "/elsewhere") = 0`,
	} {
		r := New(disk.NewFolder(), "/r", nil)
		var err error
		for _, e := range recorded(t, open+line+"\n") {
			if err = r.Step(e); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: no error", line)
		}
	}
	r := replayed(t, open+`1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</r/file>, 0) = 0x7f0000000000`+"\n")
	if !r.Mapped["file"] {
		t.Error("the mapping was passed over")
	}
}

func TestReadBroken(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"strace: cannot start\n",
		"1 <... write resumed>) = 3\n",
		"1 fsync(3\n",
		`1 write(3, "\x61"..., 10) = 10` + "\n",
		`1 write(3, "\x6g", 1) = 1` + "\n",
		"1 fsync(3) = zero\n",
		"1 fsync(3) = 0", // the end is missing
	} {
		if events, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %d events", text, len(events))
		}
	}
}

// TestSettle: what a killed program was about to do is looked up.
func TestSettle(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "made"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(`
1 mkdir("/r/made", 0750 <detached ...>
2 mkdir("/r/not-made", 0750 <detached ...>
3 renameat(3</r>, "gone", 3</r>, "file" <detached ...>
4 renameat(3</r>, "file", 3</r>, "other" <detached ...>
5 unlink("/r/file" <detached ...>
6 pwrite64(4</r/file>, "bc", 2, 1 <detached ...>
7 pwrite64(4</r/file>, "xx", 2, 1 <detached ...>
8 fsync(4</r/file> <unfinished ...>
8 <... fsync resumed>) = ?
9 openat(3</r>, "file", O_WRONLY|O_CREAT, 0644 <detached ...>
`, "/r", folder)
	events, err := Settle(recorded(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var happened []string
	for _, e := range events {
		if e.End && e.Returned {
			happened = append(happened, e.Name)
		}
	}
	if want := []string{"mkdir", "renameat", "pwrite64", "openat"}; !slices.Equal(happened, want) {
		t.Errorf("%q, want %q", happened, want)
	}
}
