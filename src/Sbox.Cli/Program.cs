using System.CommandLine;
using Sbox.Cli;
using Sbox.Cli.Terminal;

// argv[0] under NativeAOT is what the kernel was given, so a link named ostree makes this the drop-in ostree.
string called = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
Sbox.Linux.StandardStreams.OpenClosed(outputIsLost: called == "ostree");
args = TypedArguments.Of(args);
Command program = called == "ostree" ? Programs.Ostree(args.FirstOrDefault()) : Programs.Sbox(args.FirstOrDefault());
ErrorOutput.Take();
using var interrupted = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    // The first time asks the work to stop between two steps; the second time is the kernel's.
    pressed.Cancel = !interrupted.IsCancellationRequested;
    interrupted.Cancel();
};
if (called == Sbox.Cli.TombCommands.MountHelper.Name)
    return await Sbox.Cli.TombCommands.MountHelper.Run(args, interrupted.Token);
return await Invocation.Run(program, args, interrupted.Token);
