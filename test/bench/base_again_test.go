//go:build base

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
)

// againGoal is how many times as fast as the base's a tree is to be pushed again.
const againGoal = 2

// BenchmarkBaseTreeAgain pushes a tree of small files again and again, of which one has
// changed each time, by each version's own CLI.
func BenchmarkBaseTreeAgain(b *testing.B) {
	const files, folders, pushes = 10_000, 100, 3
	root := b.TempDir()
	write := func(number int, content []byte) {
		name := filepath.Join(root, fmt.Sprint(number%folders), fmt.Sprint(number))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range files {
		write(i, small("again", i)[:2<<10])
	}
	changes := files
	againstBaseFor(b, againGoal, []string{fmt.Sprintf("push %d files again after one changed, local", files)}, func(v version) (took []time.Duration) {
		v.with(b, localSpec, nil, func(m *programs.Manager) {
			cli := programs.CLI{Server: m.URL, Folder: string(v)}
			push(b, cli, root, "first")
			began := time.Now()
			for i := range pushes {
				changes++
				write(0, small("changed", changes))
				push(b, cli, root, fmt.Sprint(i))
			}
			took = append(took, time.Since(began))
		})
		return took
	})
}
