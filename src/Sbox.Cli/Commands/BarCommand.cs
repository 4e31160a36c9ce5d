using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox bar</c>: the state of a box, for the bar of a desktop.</summary>
internal static class BarCommand
{
    private static readonly TimeSpan Between = TimeSpan.FromSeconds(2);

    public static Command Make()
    {
        var once = new Option<bool>("--once") { Description = "Answer once, as text" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("bar", "Tell a desktop's bar whether the box is sealed, forgets, and what of your data is not offsite")
        {
            Details =
            [
                "It speaks the protocol of i3bar, which swaybar, i3bar and waybar take: status_command sbox bar. It looks every two seconds and writes only what changed.",
                "Items: an alarm of the sentinel in the last hour; an upgrade that waits for a restart; sealed, half sealed or not sealed; in a ghost, how much of its memory is used; each open tomb of yours, with what is not offsite yet, since when the "
                + "remote does not answer, or why it was not saved; the time. A click on a tomb saves it.",
            ],
            Examples = [new Example("In sway's configuration", "bar { status_command sbox bar }"), new Example("Once, for a prompt", "sbox bar --once")],
        }.With(once, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var look = new BarLook();
            if (parsed.GetValue(once) || parsed.GetValue(json))
            {
                IReadOnlyList<BarItem> items = await look.Look(cancel);
                new Speaker(parsed.GetValue(json)).Answer(string.Join(" | ", items.Select(static item => item.Text)), writer =>
                {
                    foreach (BarItem item in items)
                        writer.WriteString(item.Name, item.Text);
                });
                return 0;
            }

            await Follow(look, cancel);
            return 0;
        });
        return command;
    }

    private static async Task Follow(BarLook look, CancellationToken cancel)
    {
        Console.Out.Write("{\"version\":1,\"click_events\":true}\n[[]");
        Console.Out.Flush();
        _ = Task.Run(() => Clicks(look, cancel), cancel);
        string before = "";
        while (!cancel.IsCancellationRequested)
        {
            string now = Line(await look.Look(cancel));
            if (now != before)
            {
                try
                {
                    Console.Out.Write($"\n,{before = now}");
                    Console.Out.Flush();
                }
                catch (IOException)
                {
                    return; // the bar is gone
                }
            }

            await Task.Delay(Between, cancel);
        }
    }

    /// <summary>One state of the bar: <c>[{"name":…,"full_text":…,"color":…},…]</c>, after i3bar-protocol.</summary>
    internal static string Line(IReadOnlyList<BarItem> items)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartArray();
            foreach (BarItem item in items)
            {
                writer.WriteStartObject();
                writer.WriteString("name", item.Name);
                writer.WriteString("full_text", item.Text);
                writer.WriteString("color", item.Color);
                if (item.IsUrgent)
                    writer.WriteBoolean("urgent", true);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        return System.Text.Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    // The bar writes an endless array of objects, one a line.
    private static async Task Clicks(BarLook look, CancellationToken cancel)
    {
        while (await Console.In.ReadLineAsync(cancel) is { } line)
        {
            string text = line.Trim().TrimStart(',', '[').Trim();
            if (text.Length == 0)
                continue;
            try
            {
                using JsonDocument click = JsonDocument.Parse(text);
                if (click.RootElement.TryGetProperty("name", out JsonElement name))
                    await look.Click(name.GetString() ?? "", cancel);
            }
            catch (JsonException)
            {
                // Half a click of a bar that ends.
            }
        }
    }
}

/// <summary>An item of the bar.</summary>
/// <param name="Name">What it is about: <c>seal</c>, <c>tomb:ann</c>.</param>
/// <param name="Text">What is shown.</param>
/// <param name="Color">As #rrggbb.</param>
/// <param name="IsUrgent">Whether somebody has to look.</param>
internal sealed record BarItem(string Name, string Text, string Color, bool IsUrgent = false);
