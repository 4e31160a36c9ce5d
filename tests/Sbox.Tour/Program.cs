using System.Globalization;
using Sbox.Tour;
using Sbox.Vm;

// Sbox.Tour tour|console|boot|seal|media|upgrade|image ROOT CACHE [RESULTS]: what ./demo and ./bench run.
if (args is not [("tour" or "console" or "boot" or "seal" or "media" or "upgrade" or "image") and var how, var root, var cache, .. var rest])
{
    Console.Error.WriteLine("Sbox.Tour tour|console|boot|seal|media|upgrade|image ROOT CACHE [RESULTS-FILE]; people type ./demo");
    return 2;
}

try
{
    DemoImage image = DemoImage.Ensure(new Tools(root), cache);
    string machine = Path.Combine(image.Directory, "machine");
    if (how == "console")
        return await LeaveAtLogin(image, machine);
    if (how == "image")
    {
        Console.Out.WriteLine($"{image.Directory} {image.First}");
        return 0;
    }

    if (how == "boot")
    {
        string page = new BootComparison(image, new Tools(root), Path.Combine(cache, "bench", "boot"), rounds: 3).Run();
        Console.Out.Write(page);
        if (rest is [var file])
            File.WriteAllText(file, page);
        return 0;
    }

    if (how is "media" or "upgrade")
    {
        string work = Path.Combine(cache, "bench", how);
        string page = how == "media" ? await new MediaMeasure(image, new Tools(root), work).Run() : await new UpgradeMeasure(image, work).Run();
        Console.Out.Write(page);
        if (rest is [var file])
            File.WriteAllText(file, page);
        return 0;
    }

    if (how == "seal")
    {
        int rounds = int.Parse(Environment.GetEnvironmentVariable("SBOX_ROUNDS") ?? "3", CultureInfo.InvariantCulture);
        string said = "";
        new SealComparison(image, new Tools(root), Path.Combine(cache, "bench", "seal"), rounds).Run(page =>
        {
            said = page;
            if (rest is [var file])
                File.WriteAllText(file, page);
        });
        Console.Out.Write(said);
        return 0;
    }

    var story = new Story(image, machine, Console.Error.WriteLine);
    await story.Tell();
    string table = $"| step | seconds | MiB |\n|---|---|---|\n{string.Concat(image.Made.Concat(story.Costs).Select(static cost => cost + "\n"))}";
    Console.Out.Write($"\n{table}\nThe first boot: {story.FirstBoot}.\nThe tour is done: everything went as told.\n");
    if (rest is [var results])
        File.WriteAllText(results, $"# The tour, step by step\n\nMiB: what the step left on disk, or sent where it says so.\n\n{table}");
    return 0;
}
catch (Exception failure) when (failure is TourException or VmException or IOException)
{
    Console.Error.WriteLine($"The tour ended early. {failure.Message}");
    return 1;
}

static async Task<int> LeaveAtLogin(DemoImage image, string machine)
{
    image.Withdraw();
    image.Publish();
    if (Directory.Exists(machine))
        Directory.Delete(machine, recursive: true);
    await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
    Console.Error.WriteLine("""

        The box starts; you will be logged in as root on its serial console. Try:
          sbox status; touch /usr/x; mount -o remount,rw /      what runs, and that /usr stays as it is
          sbox upgrade && reboot                                 version 2, as a whole: it has 'tree'
          sbox rollback && reboot                                back to version 1, with your files
        Leave with Ctrl-A X; nothing is kept.

        """);
    using Vm vm = Vm.Start(new VmOptions(machine, image.Disk) { Interactive = true });
    return vm.WaitForExit(Timeout.InfiniteTimeSpan);
}
