package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// An interpreter of the instructions that the Dockerfile has. It takes the place
// of an engine: RUN runs on this machine, in a folder that stands for the root of
// the stage, so that paths in its commands must be relative.

// stage is one FROM with what follows it.
type stage struct {
	name   string
	from   string
	root   string // the folder that stands for its root
	env    map[string]string
	args   map[string]string
	config v1.Config
}

// dockerImage is the last stage, and the folder of all stages.
type dockerImage struct {
	*stage
	scratch string
}

// dockerBuild builds the Dockerfile of the tree at context below scratch.
func dockerBuild(context, scratch string, args map[string]string) (dockerImage, error) {
	stages, err := buildStages(context, scratch, args)
	if err != nil {
		return dockerImage{scratch: scratch}, err
	}
	return dockerImage{stages[len(stages)-1], scratch}, nil
}

func buildStages(context, scratch string, args map[string]string) ([]*stage, error) {
	text, err := os.Open(filepath.Join(context, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	defer text.Close()
	parsed, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	if len(parsed.Warnings) > 0 {
		return nil, fmt.Errorf("the parser warns: %+v", parsed.Warnings)
	}
	stages, global, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	outer := map[string]string{"BUILDPLATFORM": "linux/" + runtime.GOARCH}
	for _, arg := range global {
		takeArgs(outer, args, arg.Args)
	}
	var made []*stage
	for i, parsed := range stages {
		s := &stage{
			name: parsed.Name, from: expand(parsed.BaseName, outer), root: filepath.Join(scratch, fmt.Sprint(i)),
			env: map[string]string{}, args: map[string]string{},
		}
		s.config.WorkingDir = "/"
		if err := os.MkdirAll(s.root, 0o755); err != nil {
			return nil, err
		}
		for _, command := range parsed.Commands {
			if err := s.do(command, context, made, args); err != nil {
				return nil, fmt.Errorf("Dockerfile:%d: %w", command.Location()[0].Start.Line, err)
			}
		}
		made = append(made, s)
	}
	return made, nil
}

// takeArgs is ARG: what was given on the command line stands above the default.
func takeArgs(into, given map[string]string, args []instructions.KeyValuePairOptional) {
	for _, arg := range args {
		if value, is := given[arg.Key]; is {
			into[arg.Key] = value
		} else if arg.Value != nil {
			into[arg.Key] = *arg.Value
		}
	}
}

type environment map[string]string

func (e environment) Get(key string) (string, bool) { value, is := e[key]; return value, is }
func (e environment) Keys() []string                { return slices.Collect(maps.Keys(e)) }

func expand(word string, env map[string]string) string {
	result, _, err := shell.NewLex('\\').ProcessWord(word, environment(env))
	if err != nil {
		panic(err) // of the Dockerfile's author
	}
	return result
}

func (s *stage) do(command instructions.Command, context string, before []*stage, given map[string]string) error {
	known := maps.Clone(s.args)
	maps.Copy(known, s.env)
	if words, is := command.(instructions.SupportsSingleWordExpansion); is {
		if err := words.Expand(func(word string) (string, error) { return expand(word, known), nil }); err != nil {
			return err
		}
	}
	switch c := command.(type) {
	case *instructions.ArgCommand:
		takeArgs(s.args, given, c.Args)
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.env[pair.Key] = pair.Value
			s.config.Env = append(s.config.Env, pair.Key+"="+pair.Value)
		}
	case *instructions.WorkdirCommand:
		s.config.WorkingDir = c.Path
		return os.MkdirAll(filepath.Join(s.root, c.Path), 0o755)
	case *instructions.UserCommand:
		s.config.User = c.User
	case *instructions.EntrypointCommand:
		if c.PrependShell {
			return fmt.Errorf("the image has no shell")
		}
		s.config.Entrypoint = c.CmdLine
	case *instructions.ExposeCommand:
		s.config.ExposedPorts = map[string]struct{}{}
		for _, port := range c.Ports {
			s.config.ExposedPorts[port+"/tcp"] = struct{}{}
		}
	case *instructions.LabelCommand:
		s.config.Labels = map[string]string{}
		for _, label := range c.Labels {
			s.config.Labels[label.Key] = label.Value
		}
	case *instructions.RunCommand:
		return s.run(c, known)
	case *instructions.CopyCommand:
		return s.copy(c, context, before)
	default:
		return fmt.Errorf("%s: an instruction that this test does not know", command.Name())
	}
	return nil
}

func (s *stage) run(c *instructions.RunCommand, known map[string]string) error {
	// An engine's mask, whatever this user's is.
	command := exec.Command("sh", "-c", "umask 022; "+strings.Join(c.CmdLine, " "))
	command.Dir, command.Env = filepath.Join(s.root, s.config.WorkingDir), os.Environ()
	for key, value := range known {
		command.Env = append(command.Env, key+"="+value)
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", c.CmdLine, err, out)
	}
	return nil
}

// copy knows folders alone. What is copied belongs to root, unless it says otherwise.
func (s *stage) copy(c *instructions.CopyCommand, context string, before []*stage) error {
	if c.Chown != "" || c.Chmod != "" || len(c.SourcePaths) != 1 {
		return fmt.Errorf("COPY in a form that this test does not know")
	}
	to := c.DestPath
	if !path.IsAbs(to) {
		to = path.Join(s.config.WorkingDir, to)
	}
	to = filepath.Join(s.root, to)
	if c.From == "" {
		return copyContext(filepath.Join(context, c.SourcePaths[0]), to)
	}
	for _, other := range before {
		if other.name == c.From {
			return copyTree(filepath.Join(other.root, c.SourcePaths[0]), to, func(string, bool) (bool, error) { return true, nil })
		}
	}
	return fmt.Errorf("there is no stage %q", c.From)
}

// copyContext leaves out what .dockerignore names.
func copyContext(from, to string) error {
	file, err := os.Open(filepath.Join(from, ".dockerignore"))
	if err != nil {
		return err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return err
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	return copyTree(from, to, func(name string, folder bool) (bool, error) {
		leave, err := ignored.MatchesOrParentMatches(name)
		// A folder is entered if something in it may be wanted.
		return !leave || folder && slices.ContainsFunc(patterns, func(p string) bool { return strings.HasPrefix(p, "!"+name+"/") }), err
	})
}

func copyTree(from, to string, wanted func(name string, folder bool) (bool, error)) error {
	return filepath.WalkDir(from, func(source string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, source)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if name == "." {
			return os.MkdirAll(target, 0o755)
		}
		if is, err := wanted(filepath.ToSlash(name), entry.IsDir()); err != nil || !is {
			if entry.IsDir() && err == nil {
				return fs.SkipDir
			}
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = copyFile(source, target)
		}
		if err != nil {
			return err
		}
		return os.Chmod(target, info.Mode())
	})
}

func copyFile(source, target string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o600)
}
