package main

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"artifactstore": main})
}

// TestLocal runs scripts that need no registry. The server address leads nowhere,
// so that no process of this machine is contacted by accident.
func TestLocal(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/local",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "encode": encode},
		Setup: func(env *testscript.Env) error {
			env.Setenv(serverEnv, "http://127.0.0.1:1")
			return nil
		},
	})
}

// exits CODE PROGRAM ARG... runs the program and requires exactly this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = strconv.Itoa(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// encode DIR FILE writes the manifest of p/n@v with the content of DIR.
func encode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: encode DIR FILE")
	}
	tree, err := collect([]string{ts.MkAbs(args[0])}, walkOptions{}, nil, "")
	ts.Check(err)
	ts.Check(hashFiles(context.Background(), tree.files, 0, &meter{}))
	ref := registry.PackageRef{Producer: "p", Name: "n", Version: "v"}
	encoded, err := manifest.Encode(manifestOf(registry.OpenUpload{PackageRef: ref}, tree, tree.links, true))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), encoded, 0o644))
}
