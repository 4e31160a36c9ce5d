using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using Sbox.Codecs.Uki;

namespace Sbox.Tour.Tests;

/// <summary>
/// The record of a told story, cut: at every flush that the EFI partition has a part in, at the end of every step, and evenly at other flushes, with some of what no flush covers there and some
/// not. After each, every entry of the menu is whole and leads to a whole version, the default is one that it may be by then, and what a command had promised when it returned is so.
/// </summary>
internal sealed partial class DiskCuts : IDisposable
{
    // Real ostree reads all objects of so many roots, evenly spread; the others are asked for the names and lengths of what their images are made of.
    private const int AskedOfOstree = 2;

    private readonly Action<string> say;
    private readonly DiskRecord record;
    private readonly CutDisk disk;
    private readonly DemoImage image;
    private readonly string directory, loader;
    private readonly Dictionary<string, string> kernels = [], images = [];
    private readonly List<string> findings = [];
    private readonly int seed;
    private RootLook? root;
    private bool askOstree;
    private int looks, rootLooks;

    /// <summary>Opens a record.</summary>
    /// <param name="image">The image that the story began with.</param>
    /// <param name="machine">The directory of the story's machine.</param>
    /// <param name="seed">For what is by lot.</param>
    /// <param name="say">Told how it goes.</param>
    public DiskCuts(DemoImage image, string machine, int seed, Action<string> say)
    {
        (this.image, this.seed, this.say) = (image, seed, say);
        directory = Path.Combine(machine, "cuts");
        Directory.CreateDirectory(directory);
        record = DiskRecord.Open(machine);
        disk = new CutDisk(image.Disk, record.Log, directory);

        // What firmware started when both versions had run is what there must be of each at any cut.
        using FileStream settled = disk.EspAt(record.After("version 2 runs"), Path.Combine(directory, "settled.img"));
        var look = new FatLook(settled);
        foreach (FatFile file in look.Files.Where(EspJudge.IsEntry))
        {
            byte[] bytes = look.Bytes(file) ?? throw new TourException($"{file.Path} cannot be read: {file.Damage}");
            string line = Encoding.UTF8.GetString(UnifiedKernelImage.Read(bytes).First(static section => section.Name == ".cmdline").Content.Span);
            string commit = DeploymentArgument().Match(line).Groups[1].Value;
            kernels.Add(FatLook.Digest(bytes), commit);
            images.Add(commit, ImageArgument().Match(line).Groups[1].Value);
        }

        loader = FatLook.Digest(look.Bytes(look.Find("EFI/BOOT/BOOTX64.EFI")!)!);
        Assert.Equal(new[] { image.First, image.Second }.Order(StringComparer.Ordinal), images.Keys.Order(StringComparer.Ordinal));
    }

    /// <summary>Makes the cuts.</summary>
    /// <param name="count">At how many flushes; those that the EFI partition has a part in, and the ends of steps, are all made. Null for every one.</param>
    /// <returns>What was found; nothing where all is well.</returns>
    public IReadOnlyList<string> Make(int? count)
    {
        IReadOnlyList<CutWindow> windows = CutPlan.Windows(record.Log.Requests, record.After("publish version 2"), disk.EspPart, [.. record.Steps.Select(static step => step.At)]);
        CutWindow[] others = [.. windows.Where(static window => window.EspSectors.Count == 0 && !window.EndsStep)];
        int ofEsp = windows.Count - others.Length, more = Math.Clamp((count ?? windows.Count) - ofEsp, 0, others.Length);
        HashSet<CutWindow> chosen = [.. windows.Except(others), .. Enumerable.Range(0, more).Select(each => others[(int)((each + 0.5) * others.Length / more)])];
        say($"{record.Log.Count} requests, {record.Log.Length >> 20} MiB written; cut at {chosen.Count} of {windows.Count} flushes, {ofEsp} of them the EFI partition's or at a step's end; SBOX_SEED={seed}");
        var clock = Stopwatch.StartNew();
        foreach ((int number, CutWindow window) in windows.Where(chosen.Contains).Index())
        {
            askOstree = (number + 1) % Math.Max(1, chosen.Count / AskedOfOstree) == 0;
            disk.GoTo(window.From);
            root = null; // the same for all fates of one window
            var before = new FatLook(disk.Esp);
            foreach (CutFate fate in CutPlan.Fates(window, disk.EspPart, disk.RootPart, before.TableStart, before.DataStart, seed))
                Cut(window, fate);
        }

        say($"{looks} disks, {rootLooks} of them with another root; {clock.Elapsed.TotalSeconds:0.0} s");
        return findings;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        disk.Dispose();
        record.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    [GeneratedRegex(@"sbox\.deployment=debian/([0-9a-f]{64})\.0")]
    private static partial Regex DeploymentArgument();

    [GeneratedRegex(@"composefs=([0-9a-f]{64})")]
    private static partial Regex ImageArgument();

    private void Cut(CutWindow window, CutFate fate)
    {
        using IDisposable cut = disk.Cut(window.Until, fate.Survives);
        looks++;
        var found = new List<string>();
        try
        {
            if (root is null)
            {
                root = RootLook.At(disk.Root, directory, images, askOstree);
                rootLooks++;
            }

            if (!root.Menu.IsSubsetOf(root.Whole) || root.Menu.Count == 0)
                found.Add($"the root's boot entries lead to {string.Join(' ', root.Menu)}, and whole is {string.Join(' ', root.Whole)}");
            EspRule rule = RuleAt(window.Until, root);
            var fat = new FatLook(disk.Esp);
            found.AddRange(EspJudge.Wrong(fat, rule));
            found.AddRange(EspJudge.Fsck(disk.Esp.Name));
            using IDisposable kept = disk.KeepEsp(fat);
            found.AddRange(EspJudge.WrongWhenMended(disk.Esp, fat, rule));
        }
        catch (InvalidOperationException refused) // a judge's words
        {
            found.Add(refused.Message);
        }

        string step = record.Steps.FirstOrDefault(step => step.At >= window.Until)?.Step ?? "the end";
        findings.AddRange(found.Select(finding => $"in '{step}', request {window.From} to {window.Until}, {fate.Name}: {finding}"));
    }

    // What a command had promised when it returned is so at every cut from then on.
    private EspRule RuleAt(int request, RootLook there)
    {
        bool Is(string step) => request >= record.After(step);
        string[] defaults = Is("sbox upgrade") && !Is("sbox rollback") ? [image.First, image.Second] : [image.First];
        string[] needed = Is("sbox upgrade") && request <= record.After("the sentinel told") ? [image.First, image.Second] : [image.First];
        return new EspRule(kernels, loader, defaults, needed, there.Whole);
    }
}
