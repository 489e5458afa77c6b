package e2e

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// TestScenario is one body for every way to run it: declared by files or by
// Kubernetes objects, the bytes going first to a folder or to a bucket, on each
// kind of server over http and https. The bytes are a part of the standard
// library that is larger than a page of any list; once in each mode, and always
// in the long form, they are the whole of it, 11,500 files.
func TestScenario(t *testing.T) {
	t.Parallel()
	embedded := mode{"embedded", func(t *testing.T) control { return newFiles(t) }, sqlite}
	cluster := mode{"cluster", func(t *testing.T) control { return newNamespace(t) }, func(t *testing.T) string { return servers.Postgres(t) }}
	pooled := mode{"pooled", embedded.control, func(t *testing.T) string { return servers.PgBouncer(t, servers.Postgres(t)) }}
	const whole, part = ".", "crypto"
	for _, test := range []struct {
		mode
		first, second store
		tree          string
	}{
		{embedded, store{servers.RGW, true}, store{servers.MinIO, false}, size.Of(part, whole)},
		{cluster, store{servers.MinIO, true}, store{servers.RGW, false}, size.Of(part, whole)},
		{cluster, store{servers.VersityGW, true}, local, size.Of(part, whole)},
		{embedded, local, store{servers.VersityGW, false}, whole},
		{cluster, local, store{servers.VersityGW, false}, whole},
		{embedded, store{servers.VersityGW, false}, local, size.Of(part, whole)},
		{embedded, store{servers.RGW, false}, local, size.Of(part, whole)},
		{pooled, local, store{servers.VersityGW, false}, size.Of(part, whole)},
		{embedded, store{servers.MinIO, false}, local, size.Of(part, whole)},
	} {
		first, second := test.first.name(), test.second.name()
		t.Run(test.name+"/"+first+" first", func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			w := newWorld(t, test.control(t), test.database(t), root, first, map[string]place{
				first: test.first.place(t, root), second: test.second.place(t, root),
			})
			scenario(t, w, first, second, filepath.Join(sourceTree(t), test.tree))
		})
	}
}

// mode is a way to run the manager.
type mode struct {
	name     string
	control  func(t *testing.T) control
	database func(t *testing.T) string
}

func sqlite(t *testing.T) string {
	return "sqlite://" + (&url.URL{Path: filepath.Join(t.TempDir(), "registry.db")}).EscapedPath()
}

// scenario is the main job from end to end, with a folder of many files.
func scenario(t *testing.T, w *world, first, second, tree string) {
	ids := map[string]string{}
	for name, b := range w.backends(t) {
		ids[name] = b.ID
	}
	files := len(modes(t, tree))
	if files <= 1000 { // of which a page of S3's lists and of ours has no more
		t.Fatalf("%s holds %d files only", tree, files)
	}

	// A large package arrives in the first backend, whole, and comes back as it was.
	large := w.push(t, tree, "go-src", "1")
	if large.Files != files || large.SentFiles == 0 {
		t.Fatalf("pushed %d files and sent %d, want %d", large.Files, large.SentFiles, files)
	}
	sameTree(t, tree, w.pull(t, large.PackageRef))
	w.checkEvent(t, large, ids[first])
	inFirst := w.blobs(t, large, ids[first])
	holds(t, w.places[first], inFirst)
	lacks(t, w.places[second], inFirst)

	// The same again is the same event; other content under its name is refused.
	if again := w.push(t, tree, "go-src", "1"); again.Position != large.Position || again.SentFiles != 0 {
		t.Fatalf("the same package again: event %d after %d, %d files sent", again.Position, large.Position, again.SentFiles)
	}
	if r := w.run(t, "push", writeTree(t, 9, sizes{small: 2}), "--producer", "e2e", "--name", "go-src", "--version", "1", "--retention-class", "test"); r.Code != programs.ExitFailed {
		t.Fatalf("another package under a name that is taken: %s", r)
	}

	// Another policy: the next package goes elsewhere, and the first is where it was.
	w.reroute(t, second)
	small := writeTree(t, 1, sizes{small: 40, large: 1})
	other := w.push(t, small, "small", "1")
	w.checkEvent(t, other, ids[second])
	inSecond := w.blobs(t, other, ids[second])
	holds(t, w.places[second], inSecond)
	lacks(t, w.places[first], inSecond)
	sameTree(t, small, w.pull(t, other.PackageRef))

	// All of it is still where it was, by the log and by the bytes.
	for name, want := range map[string]int{first: len(inFirst), second: len(inSecond)} {
		report := w.verify(t, programs.ExitDone, name)
		if report.Verified != int64(want) || !report.Done {
			t.Fatalf("verification of %s found %d of %d right: %+v", name, report.Verified, want, report)
		}
		w.waitCondition(t, name, v1alpha1.ConditionVerified, metav1.ConditionTrue, "Intact")
	}
	w.damaged(t, second, small, other)
	w.unusable(t)

	// Everything outlives a restart.
	w.stop(t)
	w.start(t)
	sameTree(t, small, w.pull(t, other.PackageRef))
	w.checkViews(t)
	w.stop(t)
}

func (w *world) verify(t *testing.T, code int, backend string) registry.VerifyReport {
	t.Helper()
	return programs.Decode[registry.VerifyReport](t, w.cli.Run(t, code, "storage", "verify", "--backend", backend, "-o", "json"))
}

// damaged changes one object of a package and deletes another: both are found,
// told everywhere, and healed by the same bytes coming again.
func (w *world) damaged(t *testing.T, backend, source string, p pushed) {
	t.Helper()
	contents := fileDigests(t, w, source)
	const corrupt, missing = "large/0.bin", "d1/f1"
	flip(t, w.places[backend], contents[corrupt])
	w.places[backend].remove(t, key(contents[missing]))

	// Nobody has looked yet: whoever reads finds out.
	r := w.run(t, "pull", p.PackageRef.String(), "-d", t.TempDir())
	if r.Code != programs.ExitIntegrity && r.Code != programs.ExitFailed {
		t.Fatalf("pulling a damaged package: %s", r)
	}
	if !strings.Contains(r.Stderr, corrupt) && !strings.Contains(r.Stderr, missing) {
		t.Fatalf("the message names neither %s nor %s: %s", corrupt, missing, r)
	}

	report := w.verify(t, programs.ExitIntegrity, backend)
	if report.Corrupt != 1 || report.Missing != 1 || report.Unreachable != 0 || !report.Done {
		t.Fatalf("one object is corrupt and one is missing; the verification says %+v", report)
	}
	found := map[digest.Digest]string{}
	for _, f := range report.Failed {
		found[f.SHA256] = f.Reason
	}
	if found[contents[corrupt]] != "corrupt" || found[contents[missing]] != "missing" {
		t.Fatalf("the verification names %v", found)
	}
	health := w.health(t)
	if health.Status != registry.HealthDegraded || !slices.ContainsFunc(health.Reasons, func(r string) bool { return strings.Contains(r, backend) }) {
		t.Fatalf("health is %s: %q", health.Status, health.Reasons)
	}
	w.waitCondition(t, backend, v1alpha1.ConditionVerified, metav1.ConditionFalse, "CorruptLocations")
	r = w.run(t, "pull", p.PackageRef.String(), "-d", t.TempDir())
	if r.Code != programs.ExitIntegrity && r.Code != programs.ExitFailed {
		t.Fatalf("pulling a package that is known to be damaged: %s", r)
	}
	if !strings.Contains(r.Stderr, corrupt) && !strings.Contains(r.Stderr, missing) {
		t.Fatalf("the message names neither %s nor %s: %s", corrupt, missing, r)
	}

	// The same bytes again: only the damaged files are asked for.
	healed := w.push(t, source, "small", "healed")
	if healed.SentFiles != 2 {
		t.Fatalf("%d files were sent, want the 2 that are damaged", healed.SentFiles)
	}
	w.verify(t, programs.ExitDone, backend)
	sameTree(t, source, w.pull(t, p.PackageRef))
	w.waitCondition(t, backend, v1alpha1.ConditionVerified, metav1.ConditionTrue, "Intact")
	if health := w.health(t); health.Status != registry.HealthOK {
		t.Fatalf("health is %s after healing: %q", health.Status, health.Reasons)
	}
}

func (w *world) health(t *testing.T) registry.Health {
	t.Helper()
	health, err := w.manager.Client(t).Health(background)
	if err != nil {
		t.Fatal(err)
	}
	return health
}

// fileDigests hashes a folder's files with the CLI: sha256 by path.
func fileDigests(t *testing.T, w *world, folder string) map[string]digest.Digest {
	t.Helper()
	var names, args []string
	for name := range modes(t, folder) {
		names = append(names, filepath.ToSlash(name))
		args = append(args, filepath.Join(folder, name))
	}
	lines := strings.Split(strings.TrimSpace(w.cli.Run(t, programs.ExitDone, append([]string{"digest"}, args...)...).Stdout), "\n")
	if len(lines) != len(names) {
		t.Fatalf("%d lines for %d files", len(lines), len(names))
	}
	all := map[string]digest.Digest{}
	for i, line := range lines {
		sum, err := digest.Parse(strings.Fields(line)[0])
		if err != nil {
			t.Fatal(err)
		}
		all[names[i]] = sum
	}
	return all
}

func decodeJSON[T any](t *testing.T, text []byte) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}
