package selection

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, path  string
		folder, yes bool
	}{
		{"*.o", "a.o", false, true}, {"*.o", "b/a.o", false, false}, {"**/*.o", "a.o", false, true}, {"**/*.o", "b/c/a.o", false, true},
		{"b/**", "b/c/a.o", false, true}, {"b/**", "b", true, false}, {"b", "b", true, true}, {"b", "c/b", true, false}, {"b/", "b", true, true}, {"b/", "b", false, false},
		{"/b", "b", false, true}, {"**", "a/b", false, true}, {"*", "a", false, true}, {"*", "a/b", false, false}, {"a?c", "abc", false, true}, {"a?c", "a/c", false, false},
		{"[!a]", "b", false, true}, {"[!a]", "a", false, false}, {"{a,b}", "a", false, false}, {"{a,b}", "{a,b}", false, true}, {`\*`, "*", false, true}, {`\*`, "a", false, false},
		{"a/**/c", "a/c", false, true}, {"a/**/c", "a/b/b/c", false, true}, {"**/foo/bar", "foo/x/foo/bar", false, true}, {".*", ".env", false, true}, {"ä*", "äö", false, true},
	} {
		g, err := ParseGlob(c.glob)
		if err != nil || g.Match(c.path, c.folder) != c.yes {
			t.Errorf("%q, %q (folder %t): %t, %v", c.glob, c.path, c.folder, !c.yes, err)
		}
	}
	for _, bad := range []string{"", "/", "[a", `a\`, "[[:alpha:]]"} {
		if _, err := ParseGlob(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestIgnoredErrors(t *testing.T) {
	t.Parallel()
	var ig Ignored
	if err := ig.Add("", []byte("# fine\n\n*.o\n[a\n")); err == nil || !strings.HasPrefix(err.Error(), "line 4: ") {
		t.Errorf("got %v", err)
	}
	if where, _ := new(Ignored).Find("a/b", false); where != "" {
		t.Errorf("nothing is ignored at %q", where)
	}
	if err := ig.Add("a", []byte("\xef\xbb\xbf*.o\r\n!keep.o\n")); err != nil {
		t.Fatal(err)
	}
	if where, kept := ig.Find("a/b/x.o", false); where != "a/.artifactstoreignore:1" || kept {
		t.Errorf("%q, %t", where, kept)
	}
	if where, kept := ig.Find("a/keep.o", false); where != "a/.artifactstoreignore:2" || !kept {
		t.Errorf("%q, %t", where, kept)
	}
}

// TestAsGit walks trees with ignore files and asks git which of their files it ignores.
func TestAsGit(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("git is needed to build this project: ", err)
	}
	files := []string{"a", "a.o", "b.o", "dir/a", "dir/a.o", "dir/sub/a", "dir/sub/a.o", "dir/sub/deep/a.o", "other/dir/a", "other/sub/x", "build/x", "src/build/x", "src/build/keep", "foo/x/foo/bar", "foo/bar",
		"#hash", "!bang", "sp ", "br{a,b}", "back", "[x]", "x", "y", "doc/a.txt", "doc/b/a.txt", "foo**bar", "fooxbar", ".env", ".hidden/x", "ää/öö", "a b"}
	for name, ignore := range map[string]map[string]string{
		"names":            {"": "*.o\nx\n"},
		"anchored":         {"": "/a\n/dir/a\ndir/sub\n"},
		"folders":          {"": "build/\n/dir/\n"},
		"taken back":       {"": "*.o\n!a.o\n!/dir/sub/deep/\n"},
		"below a folder":   {"": "build/\n!build/keep\nsrc/build/*\n!src/build/keep\n"},
		"all but some":     {"": "/*\n!/dir\n!/doc/\n/dir/*\n!/dir/sub\n"},
		"stars":            {"": "dir/**\n**/sub\nfoo/**/bar\n"},
		"a star too many":  {"": "foo**bar\n**/foo/bar\ndoc/**/a.txt\n"},
		"escapes":          {"": "\\#hash\n\\!bang\nsp\\ \nbr{a,b}\n\\[x\\]\n"},
		"comments, spaces": {"": "# a\n\n   \na   \n"},
		"classes":          {"": "[xy]\n[!a-z]\n[a-c].o\n"},
		"nested":           {"": "*.o\nx\n", "dir": "!a.o\n/sub/a\n", "dir/sub": "a.o\n!deep/\n", "other": "dir/\n"},
		"nested, anchored": {"dir": "/a\nsub/deep/\n", "src": "build\n"},
		"hidden":           {"": ".*\n!.env\n"},
		"question":         {"": "?\ndir/?\n"},
		"everything":       {"": "**\n"},
		"a slash at both":  {"": "/build/\n/foo/x/\n"},
		"not ASCII":        {"": "ää/\n* b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, file := range files {
				write(t, filepath.Join(root, file), "x")
			}
			var ig Ignored
			for folder, content := range ignore {
				write(t, filepath.Join(root, folder, ".gitignore"), content)
				if err := ig.Add(folder, []byte(content)); err != nil {
					t.Fatal(err)
				}
			}
			check := exec.CommandContext(t.Context(), git, "-c", "init.defaultBranch=x", "init", "-q")
			check.Dir = root
			if out, err := check.CombinedOutput(); err != nil {
				t.Fatalf("git init: %v %s", err, out)
			}
			check = exec.CommandContext(t.Context(), git, "check-ignore", "--no-index", "--stdin", "-z")
			check.Dir, check.Stdin = root, strings.NewReader(strings.Join(files, "\x00")+"\x00")
			out, err := check.Output()
			if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: none is ignored
				t.Fatalf("git check-ignore: %v", err)
			}
			var want, got []string
			for _, file := range bytes.Split(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
				if len(file) > 0 {
					want = append(want, string(file))
				}
			}
			for _, file := range files {
				if leftOut(&ig, file) {
					got = append(got, file)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("left out: %q\ngit ignores: %q", got, want)
			}
		})
	}
}

// leftOut asks as a walk does: for the folders first.
func leftOut(ig *Ignored, file string) bool {
	if folder := path.Dir(file); folder != "." && leftOutFolder(ig, folder) {
		return true
	}
	where, kept := ig.Find(file, false)
	return where != "" && !kept
}

func leftOutFolder(ig *Ignored, folder string) bool {
	if up := path.Dir(folder); up != "." && leftOutFolder(ig, up) {
		return true
	}
	where, kept := ig.Find(folder, true)
	return where != "" && !kept
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
