package view

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	tables, indexes := split("\nCREATE TABLE a (\n\tx BIGINT -- of b; or none\n);\nCREATE INDEX a_x ON a (x);\n\nCREATE UNIQUE INDEX a_y ON a (x);\n")
	if diff := cmp.Diff("\nCREATE TABLE a (\n\tx BIGINT -- of b; or none\n);\n\nCREATE UNIQUE INDEX a_y ON a (x);\n", tables); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CREATE INDEX a_x ON a (x);\n"}, indexes); diff != "" {
		t.Error(diff)
	}
}

// TestPace: long transactions and short pauses alone, half of the time for others.
func TestPace(t *testing.T) {
	t.Parallel()
	p := newPace()
	commits := int64(7)
	alone := func(d time.Duration) {
		commits++
		p.saw(commits)
		p.sawHead(100)
		p.took(d)
	}
	for range 10 {
		alone(10 * time.Millisecond)
	}
	if p.busy() || p.records != mostRecords || p.pause() != time.Millisecond {
		t.Errorf("alone: %d records, a pause of %s, busy %v", p.records, p.pause(), p.busy())
	}
	for range 10 {
		alone(3 * time.Second)
	}
	if p.records != leastRecords || p.pause() != quietPause {
		t.Errorf("alone on a slow machine: %d records, a pause of %s", p.records, p.pause())
	}
	for range 10 {
		alone(10 * time.Millisecond)
	}
	commits++ // somebody else's
	alone(300 * time.Millisecond)
	if !p.busy() || p.records > pageRecords || p.pause() != 300*time.Millisecond {
		t.Errorf("with another writer: %d records, a pause of %s, busy %v", p.records, p.pause(), p.busy())
	}
	p = newPace()
	p.sawHead(1)
	p.sawHead(2)
	if !p.busy() {
		t.Error("appends are not seen")
	}
}
