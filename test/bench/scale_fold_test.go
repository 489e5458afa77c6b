//go:build base

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// scaleOperations batches are added in each round of the fold over many packages.
const scaleOperations = "20x"

// BenchmarkScaleFold adds packages to a database of many, against bare rows in the same
// tables, and against the other commit's.
func BenchmarkScaleFold(b *testing.B) {
	packages := scaled(b)
	ours, base, named := versionsOf(b)
	copies := b.TempDir()
	over := func(v version, name string) (program, variable string) {
		to := filepath.Join(copies, name)
		if err := copyFile(worldOf(b, v, packages).database(), to); err != nil {
			b.Fatal(err)
		}
		return scaleProgram(b, v), "BENCH_OVER=" + to
	}
	folding, folded := over(ours, "fold.db")
	_, bare := over(ours, "bare.db")
	var folds, rows, others []time.Duration
	for range pairs {
		folds = append(folds, operationFor(b, folding, fold, scaleOperations, folded))
		rows = append(rows, operationFor(b, folding, bareRows, scaleOperations, bare))
	}
	what := fmt.Sprintf("fold over %d packages", packages)
	recordGoal(b, what+", against bare rows", foldOfBare, folds, rows)
	told("  packages a second; load", fmt.Sprintf("%.0f against %.0f bare; %s", foldBatch/median(folds).Seconds(), foldBatch/median(rows).Seconds(), loadAverage()))
	if !named {
		return
	}
	if err := os.Remove(filepath.Join(copies, "bare.db")); err != nil {
		b.Fatal(err)
	}
	theirs, theirOver := over(base, "base.db")
	folds = nil
	for range pairs {
		folds = append(folds, operationFor(b, folding, fold, scaleOperations, folded))
		others = append(others, operationFor(b, theirs, fold, scaleOperations, theirOver))
	}
	recordGoal(b, what+", against the other commit", foldGoal, folds, others)
}

// foldBatch packages are one operation of the fold; see inprocess.
const foldBatch = 200
