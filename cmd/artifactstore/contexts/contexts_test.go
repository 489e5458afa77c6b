package contexts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func quiet(string) {}

// TestUpdatesFollowEachOther: of many that write at once none is lost, and a reader
// sees a whole file at any time.
func TestUpdatesFollowEachOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "config.yaml")
	var writing sync.WaitGroup
	for i := range 20 {
		writing.Go(func() {
			err := Update(path, quiet, func(file *File) error {
				file.Set(Context{Name: fmt.Sprintf("c%d", i), Server: "http://server", Token: Token(strings.Repeat("x", 1000))})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := Load(path, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	file, err := Load(path, func(text string) { t.Error(text) })
	if err != nil || len(file.Contexts) != 20 {
		t.Fatalf("%d contexts, %v", len(file.Contexts), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v; want the file and its lock", left, err)
	}
}

// TestFailedUpdate leaves the file as it was.
func TestFailedUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	set := func(c Context) error {
		return Update(path, quiet, func(file *File) error { file.Set(c); return nil })
	}
	if err := set(Context{Name: "a", Server: "http://a"}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := Update(path, quiet, func(file *File) error { file.Contexts = nil; return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for name, c := range map[string]Context{
		"a bad name":     {Name: "a b", Server: "http://a"},
		"no server":      {Name: "b"},
		"two sources":    {Name: "b", Server: "http://a", TokenFile: "/f", TokenCommand: "c"},
		"a bad helper":   {Name: "b", Server: "http://a", CredentialHelper: "../x"},
		"a bad account":  {Name: "b", Server: "http://a", Kubernetes: &Kubernetes{Namespace: "n", ServiceAccount: "--all", Audience: "a"}},
		"a bad duration": {Name: "b", Server: "http://a", Kubernetes: &Kubernetes{Namespace: "n", ServiceAccount: "s", Audience: "a", Duration: "1m"}},
	} {
		if err := set(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file is now\n%s (%v)", after, err)
	}
}

// TestTokensDoNotPrint: not by fmt, and not in errors about the file.
func TestTokensDoNotPrint(t *testing.T) {
	t.Parallel()
	c := Context{Name: "a", Server: "http://a", Token: "the-secret"}
	if text := fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Token, c.Token); strings.Contains(text, "the-secret") {
		t.Error(text)
	}
	for _, content := range []string{
		"the-secret", "contexts: the-secret", "contexts: [{token: [the-secret]}]", "contexts: [{name: {the-secret: 1}}]",
		"contexts: [{name: a, token: the-secret, token: the-secret}]", "contexts:\n- token: the-secret\n name: a", "a: 'the-secret",
	} {
		if _, err := parse([]byte(content)); err == nil || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/home/me"}, "/home/me/.config/artifactstore/config.yaml"},
		{map[string]string{"HOME": "/home/me", "XDG_CONFIG_HOME": "/xdg"}, "/xdg/artifactstore/config.yaml"},
		{map[string]string{"HOME": "/home/me", "XDG_CONFIG_HOME": "xdg"}, "/home/me/.config/artifactstore/config.yaml"},
		{map[string]string{"HOME": "/home/me", "ARTIFACTSTORE_CONFIG": "/own"}, "/own"},
		{nil, ""},
	} {
		if got := Path(func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%v: got %q, want %q", test.env, got, test.want)
		}
	}
	if err := Update("", quiet, func(*File) error { return nil }); err == nil || !strings.Contains(err.Error(), Env) {
		t.Errorf("without a home folder: %v", err)
	}
}

func TestSetAndRemove(t *testing.T) {
	t.Parallel()
	file := &File{}
	file.Set(Context{Name: "b", Server: "1"})
	file.Set(Context{Name: "a", Server: "1"})
	file.Set(Context{Name: "b", Server: "2"})
	file.Current = "b"
	if names := file.Names(); len(names) != 2 || names[0] != "a" || file.Find("b").Server != "2" {
		t.Errorf("%+v", file)
	}
	if !file.Remove("b") || file.Remove("b") || file.Current != "" || file.Find("b") != nil {
		t.Errorf("%+v", file)
	}
}
