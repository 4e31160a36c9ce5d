using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>The program itself, as a process that can be killed.</summary>
internal static class SboxProgram
{
    public static (int ExitCode, string Output, string Error) Run(Place place, params string[] arguments)
    {
        using Process process = Start(place, arguments);
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        return (process.ExitCode, output.Result, error.Result);
    }

    /// <summary>Runs it on the place's tomb; it must succeed. One that it makes costs little to open from then on.</summary>
    public static string Tomb(Place place, params string[] arguments)
    {
        (int code, string output, string error) = Run(place, ["tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, .. arguments]);
        Assert.True(code == 0, $"{string.Join(' ', arguments)}: {code}\n{output}{error}");
        if (arguments is ["create"])
            place.Cheapen();
        return output;
    }

    public static Process Start(Place place, params string[] arguments)
    {
        var start = new ProcessStartInfo(TestedProgram.Sbox) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["XDG_STATE_HOME"] = place["state"];
        start.Environment["XDG_CACHE_HOME"] = place["cache"];
        start.Environment["XDG_CONFIG_HOME"] = place["config"];
        Process process = Process.Start(start)!;
        process.StandardInput.Close();
        return process;
    }
}
