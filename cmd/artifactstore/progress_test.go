package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	full := progressState{what: "sending", bytes: 120_100_000, total: 268_400_000, files: 3, totalFiles: 10, rate: 12_340_000, left: 12 * time.Second}
	fresh := progressState{what: "hashing", total: 1 << 30, totalFiles: 1, left: -1}
	for _, test := range []struct {
		state progressState
		width int
		want  string
	}{
		{full, 120, "sending  44% [#################......................] 120 of 268 MB, 3 of 10 files, 12.3 MB/s, 0:12 left"},
		{full, 80, "sending  44% [###....] 120 of 268 MB, 3 of 10 files, 12.3 MB/s, 0:12 left"},
		{full, 60, "sending  44% [#####.......] 120 of 268 MB, 12.3 MB/s, 0:12 left"},
		{full, 50, "sending  44% 120 of 268 MB, 12.3 MB/s, 0:12 left"},
		{full, 40, "sending  44% 12.3 MB/s, 0:12 left"},
		{full, 24, "sending  44% 0:12 left"},
		{full, 12, " 44%"},
		{full, 3, " 4"},
		{fresh, 80, "hashing   0% [........................................] 0.00 of 1.07 GB, 0 of 1 files"},
	} {
		got := test.state.bar(test.width)
		if len(got) >= test.width {
			t.Errorf("%d columns do not hold %q", test.width, got)
		}
		if strings.ReplaceAll(strings.ReplaceAll(got, "#", ""), ".", "") != strings.ReplaceAll(strings.ReplaceAll(test.want, "#", ""), ".", "") {
			t.Errorf("width %d:\n got %q\nwant %q", test.width, got, test.want)
		}
	}
	if got, want := full.plain(), "sending: 120 of 268 MB (44%), 3 of 10 files, 12.3 MB/s, 0:12 left"; got != want {
		t.Errorf("plain: %q, want %q", got, want)
	}
	if got := (progressState{what: "verifying", bytes: 5, total: 0, left: -1}).plain(); got != "verifying: 5 B (0%)" {
		t.Errorf("without a total: %q", got)
	}
}

func TestSizesAndTimes(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 999_400: "999 kB", 999_600: "1.00 MB", 12_345_678: "12.3 MB", 5 << 40: "5.50 TB", 1<<63 - 1: "9.22 EB",
	} {
		if got := sizeText(size); got != want {
			t.Errorf("%d: %q, want %q", size, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0:00", 59 * time.Second: "0:59", 61 * time.Second: "1:01", time.Hour: "1:00:00", 99*time.Hour + 59*time.Minute: "99:59:00", 100 * time.Hour: "over 99 h",
	} {
		if got := clock(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// TestPace: no time left at the start, a smooth rate later, and none when nothing moves.
func TestPace(t *testing.T) {
	t.Parallel()
	const second = 1_000_000
	var p pace
	var bytes int64
	run := func(seconds int, each int64) {
		for range seconds * 10 {
			bytes += each / 10
			p.at(p.elapsed+time.Second/10, bytes)
		}
	}
	run(1, 100*second) // a burst into buffers
	if left := p.left(1000 * second); left >= 0 {
		t.Errorf("after a second it says %s left", left)
	}
	run(30, second)
	if rate := p.rate(); rate < 0.9*second || rate > 4*second {
		t.Errorf("the rate is %.0f, want about %d", rate, second)
	}
	before := p.rate()
	run(1, 0)
	if rate := p.rate(); rate < before/2 {
		t.Errorf("a pause of a second takes the rate from %.0f to %.0f", before, rate)
	}
	bytes -= 20 * second // something broke
	run(1, second)
	if p.rate() < 0 {
		t.Error("the rate is negative")
	}
	run(300, 0)
	if left := p.left(1000 * second); left >= 0 && left < 100*time.Hour {
		t.Errorf("nothing moves, and it says %s left", left)
	}
}

// TestMeterModes: what each mode writes where standard error is no terminal.
func TestMeterModes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode  progressMode
		quiet bool
		want  string // contained; "" is silence
	}{
		{progressAuto, false, ""}, // it took less than ten seconds
		{progressNone, false, ""},
		{progressPlain, false, "artifactstore: sending: 5 of 5 B (100%), 1 of 1 files"},
		{progressPlain, true, ""},
		{progressBar, true, ""},
	} {
		var stderr bytes.Buffer
		a := &app{environment: environment{stderr: &stderr, getenv: func(string) string { return "" }}, progress: test.mode, quiet: test.quiet}
		m := a.meter("sending", 5).of(1)
		m.add(5)
		m.file(1)
		m.finish()
		m.finish()
		if got := stderr.String(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.mode, got)
		}
	}
	// A note does not end up behind a bar, and nothing of the bar is left.
	var stderr bytes.Buffer
	a := &app{environment: environment{stderr: &stderr, getenv: func(string) string { return "40" }}, progress: progressBar}
	a.draw("sending  44% 0:12 left")
	a.note("hello")
	if got := stderr.String(); !strings.HasSuffix(got, "\r"+strings.Repeat(" ", 22)+"\rartifactstore: hello\n") {
		t.Errorf("%q", got)
	}
	if a.width() != 40 {
		t.Errorf("width %d", a.width())
	}
}
