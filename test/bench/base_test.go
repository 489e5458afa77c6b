//go:build base

package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

const (
	// baseCommit names the variable with the commit that the programs are compared with.
	baseCommit = "BENCH_BASE"
	// pairs is how often both versions run.
	pairs = 5
	// noSlower is the least ratio to the other commit's speed: what lies between it and 1 is noise.
	noSlower = 0.95
)

// version is the programs of one commit, in a folder.
type version string

// versions returns that of this tree and that of the other commit.
func versions(b *testing.B) (ours, base version) {
	b.Helper()
	commit := os.Getenv(baseCommit)
	if commit == "" {
		b.Fatalf("%s names no commit", baseCommit)
	}
	return version(programs.Folder(b)), version(programs.Base(b, commit))
}

// againstBase has both versions do the same in turns and records the median
// ratio of each of the times that a run returns. Runs are on data of their own.
func againstBase(b *testing.B, what []string, run func(v version) []time.Duration) {
	b.Helper()
	againstBaseFor(b, noSlower, what, run)
}

// againstBaseFor is againstBase with a goal for the ratios.
func againstBaseFor(b *testing.B, goal float64, what []string, run func(v version) []time.Duration) {
	b.Helper()
	ours, base := versions(b)
	took := [2][][]time.Duration{}
	once := func(which int, v version) func(int) time.Duration {
		return func(int) time.Duration {
			times := run(v)
			took[which] = append(took[which], times)
			return times[0]
		}
	}
	for range b.N {
		inTurns(b, pairs, once(0, ours), once(1, base))
	}
	for i, name := range what {
		column := func(which int) (all []time.Duration) {
			for _, times := range took[which] {
				all = append(all, times[i])
			}
			return all
		}
		recordGoal(b, name, goal, column(0), column(1))
	}
}

func recordGoal(b *testing.B, what string, goal float64, ours, base []time.Duration) {
	b.Helper()
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = base[i].Seconds() / ours[i].Seconds()
	}
	atLeast(b, what, median(ratios), goal)
	told("  this tree; "+cmp.Or(os.Getenv(baseCommit), "the other")+"; ratio of each pair", fmt.Sprintf("%s; %s; %s",
		median(ours).Round(time.Microsecond), median(base).Round(time.Microsecond), texts(ratios, func(r float64) float64 { return r })))
}

// with runs a manager of the version on empty data, and removes what it stored.
func (v version) with(b *testing.B, spec string, env []string, use func(m *programs.Manager), arguments ...string) {
	b.Helper()
	data, err := os.MkdirTemp(b.TempDir(), "data-") // gone before the next begins: it may be memory
	if err != nil {
		b.Fatal(err)
	}
	m := startRegistryOf(b, string(v), data, spec, env, arguments...)
	use(m)
	m.Kill()
	if err := os.RemoveAll(data); err != nil {
		b.Fatal(err)
	}
}

// sessionGoal is how many times as fast as the base's the same three requests are to be.
const sessionGoal = 2.5

// BenchmarkBasePublish has 16 clients publish packages of one small file by opening a
// session, sending the file and publishing, to local with SQLite, and then one client alone.
func BenchmarkBasePublish(b *testing.B) {
	againstBaseFor(b, sessionGoal, []string{"publish 4 KiB by open, PUT and publish, 16 clients, local"}, func(v version) []time.Duration {
		return []time.Duration{v.publishInThree(b)}
	})
	ours, base := versions(b)
	for name, v := range map[string]version{"this tree": ours, os.Getenv(baseCommit): base} {
		v.with(b, localSpec, nil, func(m *programs.Manager) {
			registry := byHTTP{m.URL, newHTTPClient()}
			ms, machine := latency(b, func(round int) time.Duration {
				return together(b, 1, func(ctx context.Context, _ int) error {
					return registry.publish(ctx, fmt.Sprint(round), small("alone", round))
				})
			})
			told("  one client alone, "+name, fmt.Sprintf("%.2f ms (%s)", ms, machine))
		})
	}
}

// BenchmarkBaseGet has 8 clients read blobs of 4 KiB from local.
func BenchmarkBaseGet(b *testing.B) {
	const clients, each, blobs = 8, 6000, 100
	againstBase(b, []string{"get 4 KiB, 8 clients, local"}, func(v version) (took []time.Duration) {
		v.with(b, localSpec, nil, func(m *programs.Manager) {
			registry := byHTTP{m.URL, newHTTPClient()}
			var paths [blobs]string
			upload, err := registry.open(b.Context(), "blobs")
			if err != nil {
				b.Fatal(err)
			}
			for i := range paths {
				name, err := registry.put(b.Context(), upload, fmt.Sprint(i), bytes.NewReader(small("blob", i)), smallFile)
				if err != nil {
					b.Fatal(err)
				}
				paths[i] = "/v1/blobs/" + name.String()
			}
			if err := registry.seal(b.Context(), upload); err != nil {
				b.Fatal(err)
			}
			read := func(count int) time.Duration {
				return together(b, clients, func(ctx context.Context, client int) error {
					for i := range count {
						if err := registry.do(ctx, http.MethodGet, paths[(client+i)%blobs], "", http.NoBody, 0, nil); err != nil {
							return err
						}
					}
					return nil
				})
			}
			read(100) // all connections are open
			took = append(took, read(each))
		})
		return took
	})
}

// BenchmarkBaseTree pushes trees of small files to local, by each version's own CLI:
// several in a turn, since one takes half a second, which is mostly noise.
func BenchmarkBaseTree(b *testing.B) {
	const trees, files, folders = 6, 4000, 40
	root := b.TempDir()
	for i := range trees * files {
		name := filepath.Join(root, fmt.Sprint(i/files), fmt.Sprint(i%folders), fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, small("tree", i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	againstBase(b, []string{fmt.Sprintf("push %d trees of %d files of 4 KiB, local", trees, files)}, func(v version) (took []time.Duration) {
		v.with(b, localSpec, nil, func(m *programs.Manager) {
			began := time.Now()
			for tree := range trees {
				push(b, programs.CLI{Server: m.URL, Folder: string(v)}, filepath.Join(root, fmt.Sprint(tree)), fmt.Sprint(tree))
			}
			took = append(took, time.Since(began))
		})
		return took
	})
}

// BenchmarkBaseLarge puts a file of 1 GiB, of which nothing is known before, and gets it.
func BenchmarkBaseLarge(b *testing.B) {
	b.Run("local", func(b *testing.B) {
		againstBase(b, []string{"put 1 GiB, local", "get 1 GiB, local"}, func(v version) (took []time.Duration) {
			v.with(b, localSpec, nil, func(m *programs.Manager) { took = large(b, m) })
			return took
		})
	})
	b.Run("versitygw", func(b *testing.B) {
		againstBase(b, []string{"put 1 GiB, versitygw", "get 1 GiB, versitygw"}, func(v version) (took []time.Duration) {
			server := servers.S3(b)
			defer empty(b, server)
			spec, env := s3Spec(server)
			v.with(b, spec, env, func(m *programs.Manager) { took = large(b, m) })
			return took
		})
	})
}

func large(b *testing.B, m *programs.Manager) []time.Duration {
	b.Helper()
	registry := byHTTP{m.URL, newHTTPClient()}
	upload, err := registry.open(b.Context(), "large")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	name, err := registry.put(b.Context(), upload, "file", endless(gibibyte), gibibyte)
	if err != nil {
		b.Fatal(err)
	}
	if err := registry.seal(b.Context(), upload); err != nil {
		b.Fatal(err)
	}
	put := time.Since(began)
	var got time.Duration
	for range getsOfLarge {
		got += get(b, registry.client, m.URL+"/v1/blobs/"+name.String(), gibibyte)
	}
	return []time.Duration{put, got / getsOfLarge}
}

// getsOfLarge are in one turn: one alone takes less than a second.
const getsOfLarge = 4

// together has clients work at the same time and returns how long all took.
func together(b *testing.B, clients int, work func(ctx context.Context, client int) error) time.Duration {
	b.Helper()
	group, ctx := errgroup.WithContext(b.Context())
	began := time.Now()
	for client := range clients {
		group.Go(func() error { return work(ctx, client) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkBaseMachine tells where the data of the others was, and how busy the machine is.
func BenchmarkBaseMachine(b *testing.B) {
	for range b.N {
		told("data in", b.TempDir()+", "+fileSystem(b, b.TempDir()))
		told("load over 1, 5 and 15 minutes at the end", loadAverage())
	}
}
