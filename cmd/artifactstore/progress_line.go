package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// progressState is what one line of progress says.
type progressState struct {
	what              string
	bytes, total      int64
	files, totalFiles int64         // totalFiles is 0 if files are not counted
	rate              float64       // bytes a second; 0: not known
	left              time.Duration // negative: not known
}

func (s progressState) percent() int64 {
	if s.total <= 0 {
		return 0
	}
	return min(100, int64(float64(max(0, s.bytes))/float64(s.total)*100))
}

// words are the parts of the line, in order.
func (s progressState) words() (amount, files, rate, left string) {
	amount = amounts(s.bytes, s.total)
	if s.totalFiles > 0 {
		files = fmt.Sprintf("%d of %d files", s.files, s.totalFiles)
	}
	if s.rate > 0 {
		rate = sizeText(int64(s.rate)) + "/s"
	}
	if s.left >= 0 {
		left = clock(s.left) + " left"
	}
	return amount, files, rate, left
}

// plain is a line for a log.
func (s progressState) plain() string {
	amount, files, rate, left := s.words()
	return fmt.Sprintf("%s: %s", s.what, joined(fmt.Sprintf("%s (%d%%)", amount, s.percent()), files, rate, left))
}

// bar fits the width: what matters least goes first, and a bar takes what is left over.
func (s progressState) bar(width int) string {
	const leastBar = 10 // with its brackets
	width--             // a line that fills the last column wraps on some terminals
	amount, files, rate, left := s.words()
	head := fmt.Sprintf("%s %3d%%", s.what, s.percent())
	for _, tail := range []string{
		joined(amount, files, rate, left), joined(amount, rate, left), joined(rate, left), left,
	} {
		line := head
		if tail != "" {
			line += " " + tail
		}
		if len(line) > width {
			continue
		}
		if room := width - len(line) - 1; room >= leastBar {
			line = head + " " + gauge(s.percent(), min(room, 40)) + strings.TrimPrefix(line, head)
		}
		return line
	}
	return fmt.Sprintf("%3d%%", s.percent())[:max(0, min(width, 4))]
}

// gauge is a bar of so many columns.
func gauge(percent int64, width int) string {
	inside := width - 2
	full := int(percent) * inside / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", inside-full) + "]"
}

func joined(words ...string) string {
	var there []string
	for _, word := range words {
		if word != "" {
			there = append(there, word)
		}
	}
	return strings.Join(there, ", ")
}

var sizeUnits = []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// unitOf returns the unit in which a size has one to three digits before the point.
func unitOf(size int64) (divisor float64, unit string) {
	divisor = 1
	for _, unit = range sizeUnits {
		if float64(size) < 999.5*divisor {
			break
		}
		divisor *= 1000
	}
	return divisor, unit
}

// sizeText writes a size with three digits that count.
func sizeText(size int64) string {
	divisor, unit := unitOf(size)
	return digits(float64(size)/divisor, divisor) + " " + unit
}

// amounts writes how much of a total, in one unit.
func amounts(done, total int64) string {
	if total <= 0 {
		return sizeText(done)
	}
	divisor, unit := unitOf(total)
	return digits(float64(done)/divisor, divisor) + " of " + digits(float64(total)/divisor, divisor) + " " + unit
}

func digits(value, divisor float64) string {
	switch {
	case divisor == 1 || value >= 99.95:
		return fmt.Sprintf("%.0f", value)
	case value >= 9.995:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

// clock writes a time left.
func clock(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	switch hours := seconds / 3600; {
	case hours >= 100:
		return "over 99 h"
	case hours > 0:
		return fmt.Sprintf("%d:%02d:%02d", hours, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

const (
	// paceOver is the time over which the rate is smoothed.
	paceOver = 8 * time.Second
	// rateFrom and paceFrom are how long a step lasts before a rate is more than what
	// fits into buffers, and a time left more than a guess.
	rateFrom = time.Second
	paceFrom = 3 * time.Second
)

// pace smooths the rate of a step: what was measured last counts most, and what is
// older than some seconds hardly at all.
type pace struct {
	elapsed time.Duration
	bytes   int64
	smooth  float64 // bytes a second, weighted; too small at the start
	weight  float64 // of what smooth has seen; 1 in the end
}

// at notes how many bytes were moved after a time.
func (p *pace) at(elapsed time.Duration, bytes int64) {
	passed := elapsed - p.elapsed
	if passed <= 0 {
		return
	}
	moved := max(0, bytes-p.bytes) // fewer than before: something broke
	share := 1 - math.Exp(-passed.Seconds()/paceOver.Seconds())
	p.smooth += share * (float64(moved)/passed.Seconds() - p.smooth)
	p.weight += share * (1 - p.weight)
	p.elapsed, p.bytes = elapsed, bytes
}

func (p *pace) rate() float64 {
	if p.elapsed < rateFrom {
		return 0
	}
	return p.smooth / p.weight
}

// left is how long the rest takes; negative if that is not known yet, or nothing moves.
func (p *pace) left(rest int64) time.Duration {
	rate := p.rate()
	switch {
	case p.elapsed < paceFrom || rate < 1:
		return -1
	case rest <= 0:
		return 0
	}
	seconds := float64(rest) / rate
	if seconds > (1000 * time.Hour).Seconds() {
		return 1000 * time.Hour
	}
	return time.Duration(seconds * float64(time.Second))
}
