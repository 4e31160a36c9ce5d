using System.Diagnostics;
using System.Text.Json;

namespace Sbox.Cli.Terminal;

/// <summary>One line on the terminal that says how far long work is; in a pipe it says nothing, with JSON one object a step.</summary>
internal sealed class ProgressLine(Speaker speaker) : IDisposable
{
    private readonly Lock sync = new();
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private static readonly TimeSpan ForPrograms = TimeSpan.FromSeconds(1), ForLogs = TimeSpan.FromSeconds(30);
    private TimeSpan lastSaid;
    private long lastDrawn = -100; // the first is drawn at once; subtracting the least number there is would overflow, and nothing be drawn
    private int drawn;
    private string step = "";

    /// <summary>A step that has begun; steps stay on the screen, one a line.</summary>
    public void Step(string name)
    {
        lock (sync)
        {
            Erase();
            if (name == step)
                return;
            step = name;
            if (speaker.Json)
                Console.Error.WriteLine(Speaker.JsonLine(writer => { writer.WriteString("step", name); writer.WriteNumber("seconds", Math.Round(clock.Elapsed.TotalSeconds, 1)); }));
            else
                Console.Error.WriteLine($"[{clock.Elapsed.TotalSeconds,6:0.0} s] {PlainText.ForError(name)}");
        }
    }

    /// <summary>How far the step is; drawn ten times a second at most.</summary>
    public void Update(string text)
    {
        if (!Speaker.Watched || speaker.Json)
            return;
        lock (sync)
        {
            long now = clock.ElapsedMilliseconds;
            if (now - lastDrawn < 100)
                return;
            lastDrawn = now;
            string line = PlainText.ForError(text.Length > 110 ? text[..110] : text);
            Console.Error.Write($"\r{line.PadRight(drawn)}");
            drawn = line.Length;
        }
    }

    /// <summary>As the other one, of what may take very long: with JSON an object a second, and a line in a log every half a minute.</summary>
    /// <param name="text">For people.</param>
    /// <param name="properties">For programs.</param>
    public void Update(string text, Action<Utf8JsonWriter> properties)
    {
        if (Speaker.Watched && !speaker.Json)
        {
            Update(text);
            return;
        }

        lock (sync)
        {
            TimeSpan now = clock.Elapsed;
            if (now - lastSaid < (speaker.Json ? ForPrograms : ForLogs))
                return;
            lastSaid = now;
            Console.Error.WriteLine(speaker.Json ? Speaker.JsonLine(properties) : text.Trim());
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (sync)
            Erase();
    }

    private void Erase()
    {
        if (drawn > 0)
            Console.Error.Write($"\r{new string(' ', drawn)}\r");
        drawn = 0;
    }
}
