package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStateOfOnePush: a file is one push's at a time, and those of long ago are forgotten.
func TestStateOfOnePush(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	name := filepath.Join(folder, "a.json")
	if lockedState(name, 0) != nil {
		t.Error("a file that is not there was opened")
	}
	first := lockedState(name, os.O_CREATE)
	if first == nil || lockedState(name, os.O_CREATE) != nil {
		t.Fatal("the file is not one push's")
	}
	s := session{file: first}
	s.forget()
	s.forget()
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("a push that is over is remembered: %v", err)
	}

	old, young := filepath.Join(folder, "old.json"), filepath.Join(folder, "young.json")
	for file, age := range map[string]time.Duration{old: rememberFor + time.Hour, young: rememberFor - time.Hour} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	forgetOld(folder)
	if _, err := os.Lstat(old); !os.IsNotExist(err) {
		t.Errorf("an old file is kept: %v", err)
	}
	if _, err := os.Lstat(young); err != nil {
		t.Errorf("a young file is gone: %v", err)
	}
}

// TestUploadsFolder: XDG's folder, if it is absolute.
func TestUploadsFolder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ state, home, want string }{
		{"/state", "/home/u", "/state/artifactstore/uploads"},
		{"relative", "/home/u", "/home/u/.local/state/artifactstore/uploads"},
		{"", "/home/u", "/home/u/.local/state/artifactstore/uploads"},
		{"", "", ""},
	} {
		a := &app{environment: environment{getenv: func(name string) string {
			return map[string]string{"XDG_STATE_HOME": test.state, "HOME": test.home}[name]
		}}}
		if got, err := a.uploadsFolder(); got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
