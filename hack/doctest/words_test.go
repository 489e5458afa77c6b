package doctest

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/programs"
)

var longFlag = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--?([a-z][a-z-]+)`)

// TestVerbs wants a heading for every verb of the CLI, and every flag of it below that heading.
func TestVerbs(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/api/cli.md")
	cli := programs.Path(t, "artifactstore")
	verbs := 0
	var walk func(path []string)
	walk = func(path []string) {
		text := help(t, cli, path...)
		_, commands, isGroup := strings.Cut(text, "Available Commands:\n")
		if isGroup && (len(path) == 0 || path[0] != "completion") {
			commands, _, _ = strings.Cut(commands, "\n\n")
			for line := range strings.Lines(commands) {
				if name := strings.Fields(line)[0]; name != "help" {
					walk(append(path[:len(path):len(path)], name))
				}
			}
			return
		}
		verbs++
		verb := strings.Join(path, " ")
		_, section, found := strings.Cut(page, "\n## "+verb+"\n")
		if !found {
			t.Errorf("docs/api/cli.md has no heading %q", "## "+verb)
			return
		}
		section, _, _ = strings.Cut(section, "\n## ")
		own, _, _ := strings.Cut(text, "Global Flags:")
		for _, flag := range longFlag.FindAllStringSubmatch(own, -1) {
			if flag[1] != "help" && !strings.Contains(section, "`--"+flag[1]) {
				t.Errorf("docs/api/cli.md, %s: --%s is not explained", verb, flag[1])
			}
		}
	}
	walk(nil)
	if verbs < 10 {
		t.Errorf("only %d verbs were found", verbs)
	}
}

// TestManagerVerbs wants a heading for every verb of the manager, and every flag of it below that heading.
func TestManagerVerbs(t *testing.T) {
	t.Parallel()
	page, manager := read(t, "docs/api/cli.md"), programs.Path(t, "manager")
	verbs := regexp.MustCompile(`(?m)^manager ([a-z ]+): `).FindAllStringSubmatch(help(t, manager), -1)
	if len(verbs) == 0 {
		t.Fatal("no verbs were found")
	}
	for _, verb := range verbs {
		_, section, found := strings.Cut(page, "\n## manager "+verb[1]+"\n")
		if !found {
			t.Errorf("docs/api/cli.md has no heading %q", "## manager "+verb[1])
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, flag := range longFlag.FindAllStringSubmatch(help(t, manager, strings.Fields(verb[1])...), -1) {
			if !strings.Contains(section, "`--"+flag[1]) && !strings.Contains(section, "`-"+flag[1]+"`") {
				t.Errorf("docs/api/cli.md, manager %s: --%s is not explained", verb[1], flag[1])
			}
		}
	}
}

// TestFlags wants a row for every flag of the manager, and none that it has not.
func TestFlags(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(read(t, "docs/OPERATOR.md"), "## Flags of the manager")
	section, _, _ = strings.Cut(section, "\n## ")
	flags := map[string]bool{}
	for _, flag := range longFlag.FindAllStringSubmatch(help(t, programs.Path(t, "manager")), -1) {
		flags["--"+flag[1]] = true
	}
	if len(flags) < 10 {
		t.Fatalf("only %d flags were found", len(flags))
	}
	for _, row := range Rows(section) {
		if !flags[row[0]] {
			t.Errorf("the manager has no flag %s", row[0])
		}
		delete(flags, row[0])
	}
	for flag := range flags {
		t.Errorf("docs/OPERATOR.md does not explain %s", flag)
	}
}

// TestMetrics wants a row for every metric that a manager shows after a sweep,
// and none that it does not, but for those of clusters alone.
func TestMetrics(t *testing.T) {
	t.Parallel()
	manager := programs.StartManager(t, []string{
		"--config-dir", filepath.Join(root(t), "config/samples/embedded"), "--data-dir", t.TempDir(),
	}, nil)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		swept, err := http.Post(manager.URL+"/v1/backends/general/sweeps", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, swept.Body) // a sweep ends with who asked for it
		swept.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if swept.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) { // it was never probed
			t.Fatalf("a sweep: %s", swept.Status)
		}
	}
	answer, err := http.Get(manager.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (artifactstore_\w+) `).FindAllStringSubmatch(string(content), -1) {
		shown[found[1]] = true
	}
	if len(shown) < 5 {
		t.Fatalf("only %d metrics were found", len(shown))
	}
	described := map[string]bool{}
	for _, row := range Rows(read(t, "docs/OPERATOR.md")) {
		if !strings.HasPrefix(row[0], "artifactstore_") {
			continue
		}
		name, _, _ := strings.Cut(row[0], "{")
		if described[name] = true; !shown[name] && !strings.HasPrefix(row[1], "in a cluster") {
			t.Errorf("the manager has no metric %s", name)
		}
	}
	for name := range shown {
		if !described[name] {
			t.Errorf("docs/OPERATOR.md does not explain %s", name)
		}
	}
}

func help(t *testing.T, program string, args ...string) string {
	t.Helper()
	output, err := exec.Command(program, append(args, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q --help: %v\n%s", filepath.Base(program), args, err, output)
	}
	return string(output)
}
